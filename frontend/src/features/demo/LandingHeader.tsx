import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Logo } from '@/components/Logo';
import { SchemeToggle } from '@/components/SchemeToggle';
import { sessionQuery, siteQuery } from '@/lib/session';

import classes from './LandingHeader.module.css';

export function LandingHeader(): ReactElement {
  const { data: account } = useQuery(sessionQuery);
  return (
    <header className={classes.bar}>
      <div className={classes.inner}>
        <Logo />
        <nav aria-label="Account" className={classes.right}>
          {account === null && <ForStrangers />}
          {account && <Button renderRoot={(props) => <Link to="/models" {...props} />}>Your models</Button>}
          <SchemeToggle />
        </nav>
      </div>
    </header>
  );
}

function ForStrangers(): ReactElement {
  const { data: site } = useQuery(siteQuery);
  return (
    <>
      <Button variant="subtle" renderRoot={(props) => <Link to="/login" {...props} />}>
        Log in
      </Button>
      {site?.sign_up_open && (
        <Button className={classes.wide ?? ''} renderRoot={(props) => <Link to="/signup" {...props} />}>
          Sign up
        </Button>
      )}
    </>
  );
}
