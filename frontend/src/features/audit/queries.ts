import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';
import { mayRetry } from '@/lib/queryClient';

export type AuditLine = Schema['AuditLine'];
export type Verified = Schema['AuditVerified'];
export type Account = Schema['Account'];

const AGAIN_MS = 5_000;

/** Whose log: an account's id, or this; empty for one's own. */
export const PLATFORM = 'platform';

/** What the API itself picks out. Empty: all. */
export interface Asked {
  account: string;
  action: string;
  object: string;
}

export const auditQuery = ({ account, action, object }: Asked) =>
  infiniteQueryOptions({
    queryKey: ['audit', account, action, object],
    queryFn: ({ pageParam }) =>
      call(api.GET('/v1/audit', { params: { query: { after: pageParam, action, object, account } } })),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next,
  });

/** As many entries behind `after` as one call tells of. */
export function verifiedBehind(after: number, account: string): Promise<Verified> {
  return call(api.GET('/v1/audit/verified', { params: { query: { after, account } } }));
}

/** The entry of this number, or the last one before it. Undefined where there is none. */
export async function entryAt(number: number, account: string): Promise<AuditLine | undefined> {
  const page = await call(api.GET('/v1/audit', { params: { query: { after: number + 1, account } } }));
  return page.entries[0];
}

/** Every account of the platform, for an operator to choose from. */
export const accountsQuery = queryOptions({
  queryKey: ['audit', 'accounts'],
  queryFn: async (): Promise<Account[]> => {
    const accounts: Account[] = [];
    for (let after: string | null = ''; after !== null;) {
      const page: Schema['AccountsPage'] = await call(
        api.GET('/v1/operator/accounts', { params: { query: { after } } }),
      );
      accounts.push(...page.accounts);
      after = page.next;
    }
    return accounts;
  },
  retry: (_, error) => mayRetry(0, error),
  retryDelay: AGAIN_MS,
});
