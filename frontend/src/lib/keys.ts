import { queryOptions } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';

export type Key = Schema['Key'];
export type Scope = Schema['Scope'];

const POLL_MS = 15_000;

/** All keys and tokens of the account, the newest first: pages are read to the end. None of them is a secret. */
export const keysQuery = queryOptions({
  queryKey: ['keys'],
  queryFn: async (): Promise<Key[]> => {
    const keys: Key[] = [];
    for (let after: string | null = ''; after !== null;) {
      const page: Schema['KeysPage'] = await call(api.GET('/v1/keys', { params: { query: { after } } }));
      keys.push(...page.keys);
      after = page.next;
    }
    return keys;
  },
  refetchInterval: POLL_MS,
});

/** What people know it by: its name, else its first characters. */
export function keyName(key: Pick<Key, 'name' | 'hint'>): string {
  return key.name || key.hint;
}
