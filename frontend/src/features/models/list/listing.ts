import type { Schema } from '@/lib/api/client';
import type { Model } from '@/lib/models';

/** What was asked of one model lately. */
export interface Asked {
  requests: number;
  errors: number;
}

const NOTHING_ASKED: Asked = { requests: 0, errors: 0 };

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

/** As many models as metrics tell of at most, those with the most requests. */
const TOLD_MAX = 200;

/** What each model was asked, by its id; a model is missing where that is not known. */
export function askedByModel(
  told: readonly Schema['ModelMeasured'][],
  models: readonly Model[],
): Map<string, Asked> {
  const known = told.map(({ model_id, measured }) => [model_id, asked(measured.sums)] as const);
  if (told.length >= TOLD_MAX) return new Map(known);
  return new Map([...models.map(({ id }) => [id, NOTHING_ASKED] as const), ...known]);
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
