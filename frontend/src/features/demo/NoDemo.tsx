import { Paper, Skeleton, Text, Title } from '@mantine/core';
import type { ReactElement } from 'react';

import { Code } from '@/components/Code';
import { ErrorPanel } from '@/components/ErrorPanel';

import classes from './NoDemo.module.css';

export function DemoPending(): ReactElement {
  return (
    <Paper
      withBorder
      p="lg"
      role="status"
      aria-label="Loading"
      aria-busy="true"
      className={classes.panel ?? ''}
    >
      <Skeleton height={24} width="40%" mb="md" />
      <Skeleton height={240} mb="md" />
      <Skeleton height={60} />
    </Paper>
  );
}

export function DemoAway({ error, onRetry }: { error: Error | null; onRetry: () => void }): ReactElement {
  return (
    <Paper withBorder p="lg" component="section" aria-label="Live demo" className={classes.panel ?? ''}>
      <Title order={2} mb="md">
        The demo cannot be reached
      </Title>
      <ErrorPanel error={error} onRetry={onRetry} />
    </Paper>
  );
}

/** `other`: the model that is the demo here, which takes no digits. */
export function NoDemo({ other }: { other: string | null }): ReactElement {
  return (
    <Paper withBorder p="lg" component="section" aria-label="Live demo" className={classes.panel ?? ''}>
      <Title order={2} mb="xs">
        Here you could draw a digit
      </Title>
      <Text mb="md">
        {other === null
          ? 'A deployed model would answer while you draw. This deployment has none to try yet.'
          : `The model to try here, ${other}, takes something else than pictures of 8 × 8.`}{' '}
        On your own computer, this trains one, deploys it and lets everybody try it:
      </Text>
      <Code code="make demo" language="bash" what="the command" />
      <Text size="sm" c="dimmed" mt="md">
        In a deployment, an operator chooses one of their models for it, on the fleet page.
      </Text>
    </Paper>
  );
}
