import { type QueryClient, queryOptions, useQuery } from '@tanstack/react-query';

import { api, ApiError, call, type Schema } from '@/lib/api/client';

export type Account = Schema['OwnAccount'];

/** Who is logged in; null where nobody is. */
export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: async (): Promise<Account | null> => {
    try {
      return await call(api.GET('/v1/account'));
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return null;
      throw error;
    }
  },
  staleTime: 60_000,
});

/** What a deployment says of itself to everybody. */
export const siteQuery = queryOptions({
  queryKey: ['site'],
  queryFn: () => call(api.GET('/v1/site')),
  staleTime: 60_000,
});

const FOR_EVERYBODY: readonly unknown[] = [sessionQuery.queryKey[0], siteQuery.queryKey[0], 'limits'];

/**
 * Forgets what was asked for an account, when its session is over or another begins. What everybody may see
 * stays: pages that show it do not ask again for what is removed under them.
 */
export function forgetAccount(queryClient: QueryClient): void {
  queryClient.removeQueries({ predicate: ({ queryKey: [of] }) => !FOR_EVERYBODY.includes(of) });
}

/** The account behind this session. Only for pages that need one: the router has checked. */
export function useAccount(): Account {
  const { data } = useQuery(sessionQuery);
  if (!data) throw new Error('This page needs a session.');
  return data;
}

export function mayOperate(account: Account): boolean {
  return account.scopes.includes('operate');
}
