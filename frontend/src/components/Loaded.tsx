import { Skeleton, Stack } from '@mantine/core';
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';

import { ErrorPanel } from './ErrorPanel';

interface Props<T> {
  query: UseQueryResult<T>;
  /** Whether there is nothing to show, and what is shown then. */
  isEmpty?: (data: T) => boolean;
  empty?: ReactNode;
  /** Instead of grey lines. */
  pending?: ReactNode;
  children: (data: T) => ReactNode;
}

/** The four states of what is asked of the server: pending, error, empty, full. What was known stays in sight. */
export function Loaded<T>({ query, isEmpty, empty, pending, children }: Props<T>): ReactNode {
  if (query.isPending) return pending ?? <Lines />;
  if (query.data === undefined) {
    return (
      <ErrorPanel error={query.error ?? new Error('Nothing came.')} onRetry={() => void query.refetch()} />
    );
  }
  return isEmpty?.(query.data) ? empty : children(query.data);
}

function Lines(): ReactNode {
  return (
    <Stack aria-busy="true" aria-label="Loading" role="status">
      <Skeleton height={20} width="40%" />
      <Skeleton height={90} />
      <Skeleton height={90} />
    </Stack>
  );
}
