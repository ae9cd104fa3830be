import type { Schema } from '@/lib/api/client';
import type { Scope } from '@/lib/keys';

export type Kind = 'api_key' | 'model_token';
export type Expiry = '7' | '30' | '90' | '365' | 'never' | 'date';

/** What is filled in before a key is made. */
export interface Draft {
  kind: Kind;
  name: string;
  scopes: Scope[];
  modelId: string | null;
  /** Null for what is usual: see `usualExpiry`. */
  expiry: Expiry | null;
  /** As `2026-12-31`, where `expiry` is `date`. */
  date: string;
  /** Requests a second; empty for none of its own. */
  rate: number | '';
}

export type Problems = Partial<Record<'scopes' | 'modelId' | 'date' | 'rate', string>>;

export const DAY_MS = 86_400_000;
export const DAYS_MAX = 3_650;
export const RATE_MAX = 1_000;

/** API keys end by themselves; a model token may sit in a program that nobody looks after. */
export function usualExpiry(kind: Kind): Expiry {
  return kind === 'api_key' ? '90' : 'never';
}

export function expiryOf(draft: Draft): Expiry {
  return draft.expiry ?? usualExpiry(draft.kind);
}

/** Days until it ends, from `now`; null for never, NaN where no date is chosen. */
export function daysOf(draft: Draft, now: number): number | null {
  const expiry = expiryOf(draft);
  if (expiry === 'never') return null;
  return expiry === 'date' ? daysUntil(draft.date, now) : Number(expiry);
}

/** When it ends, as a time in milliseconds; null for never or not known yet. */
export function endOf(draft: Draft, now: number): number | null {
  const days = daysOf(draft, now);
  return days === null || Number.isNaN(days) ? null : now + days * DAY_MS;
}

export function problemsOf(draft: Draft, now: number): Problems {
  const days = daysOf(draft, now);
  return {
    ...targetProblems(draft),
    ...(days !== null && !within(days, DAYS_MAX) && { date: 'Choose a day from tomorrow to ten years on.' }),
    ...(draft.rate !== '' && !within(draft.rate, RATE_MAX) && { rate: `From 1 to ${RATE_MAX}.` }),
  };
}

/** What is sent for it. */
export function bodyOf(draft: Draft, now: number): Schema['NewKey'] {
  const token = draft.kind === 'model_token';
  return {
    name: draft.name.trim(),
    scopes: token ? null : draft.scopes,
    model_id: token ? draft.modelId : null,
    expires_in_days: daysOf(draft, now),
    expires_in_seconds: null,
    requests_per_second: draft.rate === '' ? null : draft.rate,
  };
}

/** Whole days from today to that day, both as the calendar here has them. */
function daysUntil(date: string, now: number): number {
  const today = new Date(now);
  const midnight = Date.UTC(today.getFullYear(), today.getMonth(), today.getDate());
  return (Date.parse(date) - midnight) / DAY_MS;
}

function targetProblems({ kind, scopes, modelId }: Draft): Problems {
  if (kind === 'model_token') return modelId === null ? { modelId: 'Choose the model it may run.' } : {};
  return scopes.length === 0 ? { scopes: 'Choose one at least.' } : {};
}

function within(value: number, most: number): boolean {
  return value >= 1 && value <= most;
}
