import type { Schema } from '@/lib/api/client';

import { STEP_MS } from './ranges';

export type Metrics = Schema['Metrics'];
export type Measured = Schema['Measured'];
export type Phase = keyof Schema['Latency'];

/** One minute, hour or day. `measured` is null where nothing was asked. */
export interface Slot {
  at: number;
  measured: Measured | null;
}

export interface Counted {
  /** Answered and failed ones together. */
  asked: number;
  answered: number;
  failed: number;
  /** By error code. What has none, because it is from before codes were kept, is under `OTHER`. */
  codes: Readonly<Record<string, number>>;
}

export const OTHER = 'other';
const NOTHING: Counted = { asked: 0, answered: 0, failed: 0, codes: {} };

/** From `since` to before `until`, a slot for every step: the API leaves out those without a request. */
export function slotsOf({
  by,
  since,
  until,
  points,
}: Pick<Metrics, 'by' | 'since' | 'until' | 'points'>): Slot[] {
  const known = new Map(points.map(({ at, measured }) => [Date.parse(at), measured]));
  const slots: Slot[] = [];
  for (let at = Date.parse(since); at < Date.parse(until); at += STEP_MS[by]) {
    slots.push({ at, measured: known.get(at) ?? null });
  }
  return slots;
}

/** How requests ended. Codes also count those that no host was asked to run; sums do not. */
export function countedOf(measured: Measured | null): Counted {
  if (measured === null) return NOTHING;
  const { requests, errors } = measured.sums;
  const ofHosts = errors.caller + errors.model + errors.platform;
  const coded = total(Object.values(measured.codes));
  const failed = Math.max(ofHosts, coded);
  const answered = Math.max(0, requests - ofHosts);
  const codes = failed > coded ? { ...measured.codes, [OTHER]: failed - coded } : measured.codes;
  return { asked: answered + failed, answered, failed, codes };
}

/** A share of 0 to 1; null where nothing was asked. */
export function errorRate({ asked, failed }: Counted): number | null {
  return asked === 0 ? null : failed / asked;
}

/** The most frequent codes, `OTHER` last. What is behind the first `most` counts as `OTHER`. */
export function codesOf(counted: Counted, most: number): string[] {
  const named = Object.entries(counted.codes).filter(([code]) => code !== OTHER);
  const sorted = named.sort(([, one], [, two]) => two - one).map(([code]) => code);
  const rest = sorted.length > most || OTHER in counted.codes;
  return [...sorted.slice(0, most), ...(rest ? [OTHER] : [])];
}

export type Row = { at: number } & Record<string, number | null>;

/** For each slot how many were answered, and how many failed with each of `codes`. */
export function requestRows(slots: readonly Slot[], codes: readonly string[]): Row[] {
  return slots.map(({ at, measured }) => {
    const { answered, failed, codes: found } = countedOf(measured);
    const row: Row = { at, answered };
    let left = failed;
    for (const code of codes) {
      row[code] = code === OTHER ? left : (found[code] ?? 0);
      left -= row[code];
    }
    return row;
  });
}

/** Percentiles of one phase in milliseconds; null where no request had it. */
export function latencyRows(slots: readonly Slot[], phase: Phase): Row[] {
  return slots.map(({ at, measured }) => {
    const found = measured?.latency[phase];
    return { at, p50: found?.p50_ms ?? null, p90: found?.p90_ms ?? null, p99: found?.p99_ms ?? null };
  });
}

/** The share of failed requests; null where nothing was asked. */
export function errorRows(slots: readonly Slot[]): Row[] {
  return slots.map(({ at, measured }) => ({ at, rate: errorRate(countedOf(measured)) }));
}

/** Rows answered per second of each slot; of the one that runs still, per second of it that has passed. */
export function throughputRows(slots: readonly Slot[], stepMs: number, now: number): Row[] {
  return slots.map(({ at, measured }) => ({
    at,
    rows: (measured?.sums.rows ?? 0) / secondsOf(at, at + stepMs, now),
  }));
}

/** Requests that waited for the model to be loaded. */
export function coldRows(slots: readonly Slot[]): Row[] {
  return slots.map(({ at, measured }) => ({ at, cold: measured?.sums.cold_loads ?? 0 }));
}

/** Seconds from `since` to `until` that have passed at `now`, one at least. */
export function secondsOf(since: number, until: number, now: number): number {
  return Math.max(1, (Math.min(until, now) - since) / 1000);
}

/** Where a time lies between two others, 0 to 1, when each tenfold is as wide as the next. */
export function logPosition(ms: number, [low, high]: readonly [number, number]): number {
  const position = Math.log(Math.max(ms, low) / low) / Math.log(high / low);
  return Math.min(1, Math.max(0, position));
}

/** The powers of ten around all of these times, a tenfold apart at least. */
export function logBounds(times: readonly number[]): readonly [number, number] {
  const known = times.filter((ms) => ms > 0);
  if (known.length === 0) return [0.1, 1];
  const low = Math.floor(Math.log10(Math.min(...known)));
  return [10 ** low, 10 ** Math.max(low + 1, Math.ceil(Math.log10(Math.max(...known))))];
}

export function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
