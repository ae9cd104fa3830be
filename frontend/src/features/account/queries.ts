import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, call } from '@/lib/api/client';

export const sessionsQuery = queryOptions({
  queryKey: ['sessions'],
  queryFn: async () => (await call(api.GET('/v1/sessions'))).sessions,
});

export const accountsQuery = infiniteQueryOptions({
  queryKey: ['accounts'],
  queryFn: ({ pageParam }) =>
    call(api.GET('/v1/operator/accounts', { params: { query: { after: pageParam } } })),
  initialPageParam: '',
  getNextPageParam: (page) => page.next,
});
