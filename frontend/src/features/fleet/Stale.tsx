import { Alert } from '@mantine/core';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { formatAgo } from '@/lib/format';
import { useNow } from '@/lib/useNow';

const LATE_MS = 90_000;
const TICK_MS = 5_000;

/** Says so where what is shown is old, or nobody decides any more. */
export function Stale({
  query,
  decidedAt,
}: {
  query: UseQueryResult;
  decidedAt: string | null;
}): ReactElement | null {
  const now = useNow(TICK_MS);
  if (query.isRefetchError) {
    return (
      <Alert color="yellow" title="This is how it was a while ago" role="status">
        {query.error.message} It is asked for again and again.
      </Alert>
    );
  }
  if (decidedAt !== null && now - Date.parse(decidedAt) > LATE_MS) {
    return (
      <Alert color="yellow" title="The coordinator is silent" role="status">
        Its last pass was {formatAgo(decidedAt, now)}; one comes every few seconds where all is well. Hosts
        serve on, and nothing is moved meanwhile. Look at the log of the coordinator.
      </Alert>
    );
  }
  return null;
}
