import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { sessionQuery, siteQuery } from '@/lib/session';

import classes from './ToStart.module.css';

/** The next step, for whoever it is. */
export function ToStart(): ReactElement {
  const { data: account } = useQuery(sessionQuery);
  const { data: site } = useQuery(siteQuery);
  const to = account ? '/models' : site?.sign_up_open ? '/signup' : '/login';
  const label = { '/models': 'To your models', '/signup': 'Make an account', '/login': 'Log in' }[to];
  return (
    <div className={classes.row}>
      <Button size="md" renderRoot={(props) => <Link to={to} {...props} />}>
        {label}
      </Button>
      <Button size="md" variant="default" component="a" href="#how">
        How it works
      </Button>
    </div>
  );
}
