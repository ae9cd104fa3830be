import { keepPreviousData, queryOptions, useQuery } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';
import { keyName, keysQuery } from '@/lib/keys';
import { modelsQuery } from '@/lib/models';

import type { Range } from './ranges';
import type { Metrics } from './series';
import type { UsageLine } from './usage';

/** Of all models, or of one. */
export const metricsQuery = (range: Range, modelId: string | null) =>
  queryOptions({
    queryKey: modelId === null ? ['metrics', range.id] : ['model', modelId, 'metrics', range.id],
    queryFn: () => (modelId === null ? ofAll(range) : ofModel(range, modelId)),
    refetchInterval: range.pollMs,
    placeholderData: keepPreviousData,
  });

function ofAll(range: Range): Promise<Metrics> {
  return call(api.GET('/v1/metrics', { params: { query: asked(range) } }));
}

function ofModel(range: Range, modelId: string): Promise<Metrics> {
  const params = { path: { model_id: modelId }, query: asked(range) };
  return call(api.GET('/v1/models/{model_id}/metrics', { params }));
}

function asked({ by, spanMs }: Range) {
  return { by, from: new Date(Date.now() - spanMs).toISOString() };
}

export interface Names {
  model: (id: string) => string;
  key: (id: string) => string;
  /** Whether there is a page of this model. */
  has: (modelId: string) => boolean;
}

/** What people call models and keys. Those that are not listed go by the beginning of their id. */
export function useNames(): Names {
  const models = useQuery(modelsQuery);
  const keys = useQuery(keysQuery);
  const modelNames = new Map(models.data?.map(({ id, name }) => [id, name]));
  const keysById = new Map(keys.data?.map((key) => [key.id, key]));
  const model = (id: string) => modelNames.get(id) ?? unnamed(id);
  return {
    model: (id) => (id === '' ? 'no model in particular' : model(id)),
    key: (id) => {
      const key = keysById.get(id);
      if (!key) return unnamed(id);
      return key.name === '' && key.model_id !== null
        ? `${key.hint} for ${model(key.model_id)}`
        : keyName(key);
    },
    has: (id) => modelNames.has(id),
  };
}

const SHORT = 8;

function unnamed(id: string): string {
  return `${id.slice(0, SHORT)}…`;
}

const LINES_MAX = 20_000;
const USAGE_POLL_MS = 60_000;

/** Usage by the day, the newest first. `cut`: there is more than is shown. */
export const usageQuery = (since: string) =>
  queryOptions({
    queryKey: ['usage', since],
    queryFn: async (): Promise<{ lines: UsageLine[]; cut: boolean }> => {
      const lines: UsageLine[] = [];
      let after: string | null = '';
      while (after !== null && lines.length < LINES_MAX) {
        const query = { by: 'day' as const, from: since, after };
        const page: Schema['UsagePage'] = await call(api.GET('/v1/usage', { params: { query } }));
        lines.push(...page.lines);
        after = page.next;
      }
      return { lines: lines.toReversed(), cut: after !== null };
    },
    refetchInterval: USAGE_POLL_MS,
    placeholderData: keepPreviousData,
  });

export const costQuery = (since: string) =>
  queryOptions({
    queryKey: ['usage', 'cost', since],
    queryFn: () => call(api.GET('/v1/usage/cost', { params: { query: { from: since } } })),
    refetchInterval: USAGE_POLL_MS,
    placeholderData: keepPreviousData,
  });
