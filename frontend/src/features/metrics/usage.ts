import type { Schema } from '@/lib/api/client';
import { csvText } from '@/lib/csv';

import type { Names } from './queries';

export type UsageLine = Schema['UsageLine'];

/** What lines are added up by; what is not among them is left out of sight. */
export type Part = 'day' | 'model' | 'version' | 'key';

export interface Grouped {
  id: string;
  /** As `2026-12-31`; null where lines of several days are in it, likewise the others. */
  day: string | null;
  modelId: string | null;
  version: number | null;
  keyId: string | null;
  requests: number;
  failed: number;
  rows: number;
  computeMs: number;
  bytes: number;
}

export interface Period {
  id: string;
  label: string;
  /** The first day of it, as `2026-12-01`: of UTC, as days of usage are. */
  since: (now: number) => string;
}

const DAY_MS = 86_400_000;
const DAYS = 30;

export const PERIODS: readonly [Period, Period] = [
  { id: 'month', label: 'This month', since: (now) => `${isoDay(now).slice(0, 7)}-01` },
  { id: '30d', label: 'Last 30 days', since: (now) => isoDay(now - (DAYS - 1) * DAY_MS) },
];

/** Lines added up, in the order in which each first comes. */
export function grouped(lines: readonly UsageLine[], parts: readonly Part[]): Grouped[] {
  const found = new Map<string, Grouped>();
  for (const line of lines) {
    const one = emptyGroup(line, parts);
    const known = found.get(one.id) ?? one;
    add(known, line.sums);
    found.set(one.id, known);
  }
  return [...found.values()];
}

function emptyGroup(line: UsageLine, parts: readonly Part[]): Grouped {
  const known = {
    day: parts.includes('day') ? line.at.slice(0, 10) : null,
    modelId: parts.includes('model') || parts.includes('version') ? line.model_id : null,
    version: parts.includes('version') ? line.version : null,
    keyId: parts.includes('key') ? line.key_id : null,
  };
  const id = JSON.stringify(Object.values(known));
  return { ...known, id, requests: 0, failed: 0, rows: 0, computeMs: 0, bytes: 0 };
}

function add(group: Grouped, sums: Schema['Sums']): void {
  group.requests += sums.requests;
  group.failed += sums.errors.caller + sums.errors.model + sums.errors.platform;
  group.rows += sums.rows;
  group.computeMs += sums.compute_ms;
  group.bytes += sums.bytes_in + sums.bytes_out;
}

const HEAD = ['day', 'model', 'model_id', 'version', 'key', 'key_id'];
const COUNTED = ['requests', 'errors_caller', 'errors_model', 'errors_platform', 'rows', 'compute_ms'];
const MORE = ['bytes_in', 'bytes_out', 'cold_starts'];

/** Every line as a row, under a head. */
export function csvOf(lines: readonly UsageLine[], names: Pick<Names, 'model' | 'key'>): string {
  const rows = lines.map(({ at, model_id: modelId, version, key_id: keyId, sums }) => [
    at.slice(0, 10),
    names.model(modelId),
    modelId,
    version,
    names.key(keyId),
    keyId,
    sums.requests,
    sums.errors.caller,
    sums.errors.model,
    sums.errors.platform,
    sums.rows,
    sums.compute_ms,
    sums.bytes_in,
    sums.bytes_out,
    sums.cold_loads,
  ]);
  return csvText([[...HEAD, ...COUNTED, ...MORE], ...rows]);
}

function isoDay(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}
