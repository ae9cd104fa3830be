import { queryOptions } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';
import { polled } from '@/lib/polling';

export type Model = Schema['Model'];
export type Version = Schema['Version'];
export type Report = Schema['Report'];

const SOON_MS = 1_000;
const LATER_MS = 5_000;
/** How many models or versions an answer has at most. */
const PAGE = 100;

/** All models of the account: pages are read to the end. */
export const modelsQuery = queryOptions({
  queryKey: ['models'],
  queryFn: async (): Promise<Model[]> => {
    const models: Model[] = [];
    for (let after: string | null = ''; after !== null;) {
      const page: Schema['ModelsPage'] = await call(api.GET('/v1/models', { params: { query: { after } } }));
      models.push(...page.models);
      after = page.next;
    }
    return models;
  },
  refetchInterval: polled(
    (models: Model[]) => pagesOf(models.length) * (models.some(isUnderWay) ? SOON_MS : LATER_MS),
  ),
});

export const modelQuery = (modelId: string) =>
  queryOptions({
    queryKey: ['model', modelId],
    queryFn: () => call(api.GET('/v1/models/{model_id}', { params: { path: { model_id: modelId } } })),
    refetchInterval: polled((model: Model) => (isUnderWay(model) ? SOON_MS : LATER_MS)),
  });

/** All of them, the oldest first. Under ['model', id], so that whatever changes a model asks for these again too. */
export const versionsQuery = (modelId: string) =>
  queryOptions({
    queryKey: ['model', modelId, 'versions'],
    queryFn: async (): Promise<Version[]> => {
      const versions: Version[] = [];
      for (;;) {
        const query = { after: versions.at(-1)?.number ?? 0 };
        const page = await call(
          api.GET('/v1/models/{model_id}/versions', { params: { path: { model_id: modelId }, query } }),
        );
        versions.push(...page.versions);
        if (page.versions.length < PAGE) return versions;
      }
    },
    refetchInterval: polled((versions: Version[]) => (versions.some(isPreparing) ? SOON_MS : LATER_MS)),
  });

export const reportQuery = (modelId: string, number: number) =>
  queryOptions({
    queryKey: ['model', modelId, 'report', number],
    queryFn: () =>
      call(
        api.GET('/v1/models/{model_id}/versions/{number}/report', {
          params: { path: { model_id: modelId, number } },
        }),
      ),
    refetchInterval: polled((report: Report) => (isPreparing(report) ? SOON_MS : false)),
  });

/** As many requests a second, however many there are. */
function pagesOf(count: number): number {
  return Math.max(1, Math.ceil(count / PAGE));
}

/** Whether a version of it is being uploaded, prepared or warmed. */
export function isUnderWay(model: Model): boolean {
  return model.activating !== null || (model.latest !== null && isPreparing(model.latest));
}

export function isPreparing(version: { state: Schema['VersionState'] }): boolean {
  return version.state === 'uploading' || version.state === 'preparing';
}
