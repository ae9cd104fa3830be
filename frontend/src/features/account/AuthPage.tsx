import { Paper, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { type ReactElement, type ReactNode, useEffect } from 'react';

import { Logo } from '@/components/Logo';
import { SchemeToggle } from '@/components/SchemeToggle';

import classes from './AuthPage.module.css';

interface Props {
  title: string;
  description?: ReactNode;
  children: ReactNode;
  /** Under the form: where else one may want to go. */
  foot?: ReactNode;
}

/** Around the forms that begin a session. */
export function AuthPage({ title, description, children, foot }: Props): ReactElement {
  useEffect(() => {
    document.title = `${title} · ModelRocket`;
  }, [title]);
  return (
    <div className={classes.page}>
      <header className={classes.bar}>
        <Link to="/" className={classes.home}>
          <Logo />
        </Link>
        <SchemeToggle />
      </header>
      <main className={classes.main}>
        <Paper withBorder className={classes.card ?? ''}>
          <Title order={1}>{title}</Title>
          {description && (
            <Text c="dimmed" mt={4}>
              {description}
            </Text>
          )}
          <div className={classes.body}>{children}</div>
        </Paper>
        {foot && (
          <Text ta="center" mt="lg">
            {foot}
          </Text>
        )}
      </main>
    </div>
  );
}
