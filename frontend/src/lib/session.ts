import { type Query, type QueryClient, queryOptions, useQuery } from '@tanstack/react-query';

import { api, ApiError, call, type Schema } from '@/lib/api/client';
import { limitsQuery } from '@/lib/limits';

export type Account = Schema['OwnAccount'];

const SESSION = ['session'];

/**
 * Who is logged in; null where nobody is. Where that is another one than before, what was known of the one before
 * is forgotten: another tab may have logged in.
 */
export const sessionQuery = queryOptions({
  queryKey: SESSION,
  queryFn: async ({ client }): Promise<Account | null> => {
    const account = await whoIsHere();
    const before = client.getQueryData<Account | null>(SESSION);
    if (account && before !== undefined && before?.id !== account.id) forgetAccount(client);
    return account;
  },
  staleTime: 60_000,
});

async function whoIsHere(): Promise<Account | null> {
  try {
    return await call(api.GET('/v1/account'));
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null;
    throw error;
  }
}

/** What a deployment says of itself to everybody. */
export const siteQuery = queryOptions({
  queryKey: ['site'],
  queryFn: () => call(api.GET('/v1/site')),
  staleTime: 60_000,
});

const FOR_EVERYBODY: readonly unknown[] = [SESSION[0], siteQuery.queryKey[0], limitsQuery.queryKey[0]];

/**
 * Forgets what was asked for an account, when its session is over or another begins. What a page shows right now
 * is asked for anew: a page would not ask again for what is removed under it. What everybody may see stays.
 */
export function forgetAccount(queryClient: QueryClient): void {
  const predicate = ({ queryKey: [of] }: Query) => !FOR_EVERYBODY.includes(of);
  queryClient.removeQueries({ predicate, type: 'inactive' });
  void queryClient.resetQueries({ predicate });
}

/** The account behind this session. Only within the shell, which shows nothing without one. */
export function useAccount(): Account {
  const { data } = useQuery(sessionQuery);
  if (!data) throw new Error('This page needs a session.');
  return data;
}

export function mayOperate(account: Account): boolean {
  return account.scopes.includes('operate');
}
