import { Alert, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { useNow } from '@/lib/useNow';

import { closedUntil } from './refusals';

const TICK_MS = 500;

/** Why a form was refused as a whole, and when it may be sent again where it was sent too often. */
export function FormError({
  error,
  title,
  refusedAt,
}: {
  error: Error;
  title: string;
  refusedAt: number;
}): ReactElement {
  const until = closedUntil(error, refusedAt);
  return until === null ? <ErrorPanel error={error} title={title} /> : <Closed until={until} />;
}

function Closed({ until }: { until: number }): ReactElement {
  const seconds = Math.ceil((until - useNow(TICK_MS)) / 1000);
  return (
    <Alert color="orange" variant="light" title="Too many tries" role="alert">
      <Text size="sm">
        {seconds > 0
          ? `The next one is let through in ${seconds} s. What you typed stays here.`
          : 'You can try again now.'}
      </Text>
    </Alert>
  );
}
