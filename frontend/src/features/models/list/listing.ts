import type { Schema } from '@/lib/api/client';
import type { Model } from '@/lib/models';

/** What was asked of one model lately. */
export interface Asked {
  requests: number;
  errors: number;
}

export const NOTHING_ASKED: Asked = { requests: 0, errors: 0 };

export const ORDERS = {
  newest: 'Last upload',
  name: 'Name',
  requests: 'Most requests',
  errors: 'Most errors',
  size: 'Largest',
} as const;

export type Order = keyof typeof ORDERS;

export function isOrder(value: string): value is Order {
  return value in ORDERS;
}

/** Requests and errors by model id. Models that nobody asked are not in it. */
export function askedByModel(models: readonly Schema['ModelMeasured'][]): Map<string, Asked> {
  return new Map(models.map(({ model_id, measured }) => [model_id, asked(measured.sums)]));
}

export function asked({ requests, errors }: Schema['Sums']): Asked {
  return { requests, errors: errors.caller + errors.model + errors.platform };
}

interface Wanted {
  /** Part of a name or id, or an id. */
  search: string;
  order: Order;
}

/** Those that are searched for, in order; alike ones by name. */
export function listed(
  models: readonly Model[],
  asks: ReadonlyMap<string, Asked>,
  { search, order }: Wanted,
): Model[] {
  const words = search.trim().toLowerCase();
  const found = models.filter(
    (model) => model.name.toLowerCase().includes(words) || model.id.includes(words),
  );
  const rank = RANKS[order];
  return found.sort((one, other) => rank(other, asks) - rank(one, asks) || byName(one, other));
}

/** What is higher comes first. */
const RANKS: Readonly<Record<Order, (model: Model, asks: ReadonlyMap<string, Asked>) => number>> = {
  newest: (model) => Date.parse(model.latest?.created_at ?? model.created_at),
  name: () => 0,
  requests: (model, asks) => asks.get(model.id)?.requests ?? 0,
  errors: (model, asks) => asks.get(model.id)?.errors ?? 0,
  size: (model) => model.latest?.bytes ?? 0,
};

function byName(one: Model, other: Model): number {
  return one.name.localeCompare(other.name, 'en', { numeric: true });
}
