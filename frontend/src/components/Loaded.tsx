import type { UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useState } from 'react';

import { ErrorPanel } from './ErrorPanel';
import { Waiting } from './Waiting';

const LINES = 5;

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
  const error = useLastError(query);
  if (query.data !== undefined) return isEmpty?.(query.data) ? empty : children(query.data);
  if (error === null) return pending ?? <Waiting lines={LINES} />;
  return <ErrorPanel error={error} retrying={query.isFetching} onRetry={() => void query.refetch()} />;
}

/** Also while it is asked again: a query that never had an answer forgets its error then. */
function useLastError<T>(query: UseQueryResult<T>): Error | null {
  const [last, setLast] = useState<Error | null>(null);
  if (query.error !== null && query.error !== last) setLast(query.error);
  return query.error ?? last;
}
