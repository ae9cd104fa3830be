import type { Schema } from '@/lib/api/client';

export type Grain = Schema['Grain'];

export interface Range {
  id: string;
  label: string;
  /** What a point stands for. */
  by: Grain;
  spanMs: number;
  /** How often it is asked for again: about as often as something may have changed. */
  pollMs: number;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

export const STEP_MS: Readonly<Record<Grain, number>> = { minute: 60_000, hour: HOUR_MS, day: DAY_MS };

export const LAST_HOUR: Range = {
  id: '1h',
  label: 'Last hour',
  by: 'minute',
  spanMs: HOUR_MS,
  pollMs: 5_000,
};
export const RANGES: readonly Range[] = [
  LAST_HOUR,
  { id: '24h', label: '24 hours', by: 'hour', spanMs: DAY_MS, pollMs: 10_000 },
  { id: '7d', label: '7 days', by: 'day', spanMs: 7 * DAY_MS, pollMs: 60_000 },
  { id: '30d', label: '30 days', by: 'day', spanMs: 30 * DAY_MS, pollMs: 60_000 },
];

const CLOCK: Intl.DateTimeFormatOptions = { hour: '2-digit', minute: '2-digit' };
const DAY: Intl.DateTimeFormatOptions = { day: 'numeric', month: 'short' };

/** A point on the axis. Minutes and hours as clocks here have them; days are those of UTC. */
export function tickOf(at: number, by: Grain): string {
  return new Date(at).toLocaleString('en-GB', by === 'day' ? { ...DAY, timeZone: 'UTC' } : CLOCK);
}

/** The same in full. */
export function timeOf(at: number, by: Grain): string {
  const date = new Date(at);
  if (by === 'day')
    return `${date.toLocaleString('en-GB', { ...DAY, year: 'numeric', timeZone: 'UTC' })} (UTC)`;
  return date.toLocaleString('en-GB', { weekday: 'short', ...DAY, ...CLOCK });
}
