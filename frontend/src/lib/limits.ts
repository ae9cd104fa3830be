import { queryOptions } from '@tanstack/react-query';

import { api, call } from '@/lib/api/client';

/** What this deployment allows. It changes with its configuration only. */
export const limitsQuery = queryOptions({
  queryKey: ['limits'],
  queryFn: () => call(api.GET('/v1/limits')),
  staleTime: Infinity,
});
