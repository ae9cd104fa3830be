import { infiniteQueryOptions, queryOptions } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';
import { polled } from '@/lib/polling';

const LIVE_MS = 2_000;
const LATER_MS = 10_000;

/** What was asked of all models in the last hour. */
export const hourQuery = queryOptions({
  queryKey: ['metrics', 'last hour'],
  queryFn: () => call(api.GET('/v1/metrics', { params: { query: { by: 'minute' } } })),
  refetchInterval: polled(() => LATER_MS),
});

/** The same of one model, minute by minute. */
export const modelHourQuery = (modelId: string) =>
  queryOptions({
    queryKey: ['model', modelId, 'last hour'],
    queryFn: () =>
      call(
        api.GET('/v1/models/{model_id}/metrics', {
          params: { path: { model_id: modelId }, query: { by: 'minute' } },
        }),
      ),
    refetchInterval: polled(() => LATER_MS),
  });

export const trafficQuery = (modelId: string) =>
  queryOptions({
    queryKey: ['model', modelId, 'traffic'],
    queryFn: () =>
      call(api.GET('/v1/models/{model_id}/traffic', { params: { path: { model_id: modelId } } })),
    refetchInterval: polled((traffic: Schema['Traffic']) => (isMoving(traffic) ? LIVE_MS : LATER_MS)),
  });

export const blastRadiusQuery = (modelId: string) =>
  queryOptions({
    queryKey: ['model', modelId, 'blast radius'],
    queryFn: () =>
      call(api.GET('/v1/models/{model_id}/blast-radius', { params: { path: { model_id: modelId } } })),
    refetchInterval: polled(() => LATER_MS),
  });

/** Where a model is placed, and why: the newest decisions first. */
export const decisionsQuery = (modelId: string) =>
  infiniteQueryOptions({
    queryKey: ['model', modelId, 'decisions'],
    queryFn: ({ pageParam: before }) =>
      call(
        api.GET('/v1/models/{model_id}/decisions', {
          params: { path: { model_id: modelId }, query: { before } },
        }),
      ),
    initialPageParam: 0,
    getNextPageParam: (page) => page.next,
    refetchInterval: polled(() => LATER_MS),
  });

export const tokensQuery = (modelId: string) =>
  queryOptions({
    queryKey: ['model', modelId, 'tokens'],
    queryFn: async (): Promise<Schema['Key'][]> => {
      const tokens: Schema['Key'][] = [];
      for (let after: string | null = ''; after !== null;) {
        const page: Schema['KeysPage'] = await call(
          api.GET('/v1/models/{model_id}/tokens', {
            params: { path: { model_id: modelId }, query: { after } },
          }),
        );
        tokens.push(...page.keys);
        after = page.next;
      }
      return tokens;
    },
  });

function isMoving(traffic: Schema['Traffic']): boolean {
  return traffic.candidate !== null || traffic.activating !== null;
}
