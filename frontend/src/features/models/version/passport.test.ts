import { describe, expect, it } from 'vitest';

import { batchPoints, batchWords, type Passport, sharingWords } from './passport';

const PASSPORT = {
  batches: [
    { rows: 1, run_ms: 0.01, memory_bytes: 100 },
    { rows: 64, run_ms: 0.016, memory_bytes: 300 },
    { rows: 128, run_ms: 0, memory_bytes: 400 },
  ],
  batch_size_best: 64,
  batch_gain: 40.2,
} as Passport;

describe('batchPoints', () => {
  it('have rates, and mark the best', () => {
    expect(batchPoints(PASSPORT).map(({ rows, rowsPerSecond, best }) => [rows, rowsPerSecond, best])).toEqual(
      [
        ['1', 100_000, false],
        ['64', 4_000_000, true],
        ['128', 0, false],
      ],
    );
  });
});

describe('batchWords', () => {
  it.each([
    [PASSPORT, '64 rows in a run are best: 40 times as many rows per second as one by one.'],
    [
      { ...PASSPORT, batch_size_best: 1 },
      'One row at a time is best: larger runs bring no more rows per second.',
    ],
    [{ ...PASSPORT, batches: [] }, 'Only one size of run could be measured.'],
  ])('case %#', (passport, words) => {
    expect(batchWords(passport)).toBe(words);
  });
});

describe('sharingWords', () => {
  const proved = { batchable: true, evidence: '', counterexample: null };
  it.each([
    [proved, PASSPORT, 'Requests that wait at the same time share a run, up to 64 rows.'],
    [
      proved,
      { ...PASSPORT, batch_gain: 1.1 },
      'Requests may share a run. They do not, since it would not be faster.',
    ],
    [{ ...proved, batchable: false }, PASSPORT, 'Each request runs by itself.'],
  ])('case %#', (certificate, passport, words) => {
    expect(sharingWords(certificate, passport)).toBe(words);
  });
});
