import { MutationCache, QueryCache, QueryClient } from '@tanstack/react-query';

import { ApiError } from '@/lib/api/client';

const TRIES = 3;

/** What is asked again by itself: only what may go better another time. */
export function mayRetry(failures: number, error: Error): boolean {
  const passing = error instanceof ApiError && [0, 429, 500, 502, 503, 504].includes(error.status);
  return passing && failures < TRIES - 1;
}

/** `onSessionEnd` is called when the API no longer knows the session. */
export function createQueryClient(onSessionEnd: () => void): QueryClient {
  const onError = (error: Error) => {
    if (error instanceof ApiError && error.status === 401) onSessionEnd();
  };
  return new QueryClient({
    queryCache: new QueryCache({ onError }),
    mutationCache: new MutationCache({
      onError: (error, _variables, _context, mutation) => {
        if (mutation.meta?.signsIn !== true) onError(error);
      },
    }),
    defaultOptions: { queries: { retry: mayRetry, staleTime: 5_000 }, mutations: { retry: false } },
  });
}
