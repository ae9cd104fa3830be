import type { Schema } from '@/lib/api/client';
import { formatExact } from '@/lib/format';

export type Passport = Schema['Passport'];

/** Below it requests run one by one, as `BATCH_GAIN_MIN` of the platform has it. */
const GAIN_MIN = 1.2;

export interface BatchPoint {
  /** As text: sizes double, so they stand at equal distances. */
  rows: string;
  runMs: number;
  rowsPerSecond: number;
  memoryBytes: number;
  best: boolean;
}

/** The runs that were measured, the smallest first. Those too fast for the clock have no rate. */
export function batchPoints({ batches, batch_size_best }: Passport): BatchPoint[] {
  return batches.map(({ rows, run_ms, memory_bytes }) => ({
    rows: String(rows),
    runMs: run_ms,
    rowsPerSecond: run_ms > 0 ? Math.round((1000 * rows) / run_ms) : 0,
    memoryBytes: memory_bytes,
    best: rows === batch_size_best,
  }));
}

/** What the batch curve says, in a sentence. */
export function batchWords({ batches, batch_size_best, batch_gain }: Passport): string {
  if (batches.length < 2) return 'Only one size of run could be measured.';
  if (batch_size_best === 1) return 'One row at a time is best: larger runs bring no more rows per second.';
  return `${formatExact(batch_size_best)} rows in a run are best: ${times(batch_gain)} as many rows per second as one by one.`;
}

/** Whether requests of different callers do share runs: where that is proved right, and worth it. */
export function sharingWords(certificate: Schema['Certificate'], passport: Passport | null): string {
  if (!certificate.batchable) return 'Each request runs by itself.';
  if (passport && passport.batch_gain < GAIN_MIN) {
    return 'Requests may share a run. They do not, since it would not be faster.';
  }
  const most = passport ? `, up to ${formatExact(passport.batch_size_best)} rows` : '';
  return `Requests that wait at the same time share a run${most}.`;
}

function times(gain: number): string {
  return `${Number(gain.toPrecision(2)).toLocaleString('en')} times`;
}
