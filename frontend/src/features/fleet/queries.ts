import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';
import { polled } from '@/lib/polling';

export type Fleet = Schema['Fleet'];
export type Host = Schema['Host'];
export type HostedVersion = Schema['HostedVersion'];
export type Decision = Schema['Decision'];

const FLEET_MS = 2_500;
const HOST_MS = 5_000;
const DECISIONS_MS = 5_000;

export const fleetQuery = queryOptions({
  queryKey: ['fleet'],
  queryFn: () => call(api.GET('/v1/fleet')),
  refetchInterval: polled(() => FLEET_MS),
});

/** The first page of what a host is to hold: a hundred versions. */
export const hostQuery = (hostId: string) =>
  queryOptions({
    queryKey: ['fleet', 'host', hostId],
    queryFn: () =>
      call(api.GET('/v1/fleet/hosts/{host_id}/versions', { params: { path: { host_id: hostId } } })),
    refetchInterval: polled(() => HOST_MS),
  });

/** What was decided, as it was when first looked at; of all models where `model` is empty. */
export const decisionsQuery = (model: string) =>
  infiniteQueryOptions({
    queryKey: ['fleet', 'decisions', model],
    queryFn: ({ pageParam }) => decisionsBefore(pageParam, model),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next,
    staleTime: Infinity,
  });

/** What was decided last, asked for again and again. */
export const latestDecisionsQuery = (model: string) =>
  queryOptions({
    queryKey: ['fleet', 'latest decisions', model],
    queryFn: () => decisionsBefore(0, model),
    refetchInterval: polled(() => DECISIONS_MS),
  });

function decisionsBefore(before: number, model: string) {
  return call(api.GET('/v1/fleet/decisions', { params: { query: { before, model } } }));
}
