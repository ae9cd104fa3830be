import { describe, expect, it } from 'vitest';

import type { Schema } from '@/lib/api/client';

import { DEFAULT_LIMITS } from './limits';
import { judge } from './judge';

const NONE = { requests: 0, errors: 0, run_us: 0, row_us: 0, mirrored: 0, differing: 0 };

function verdicts(candidate: Partial<Schema['Counts']>, active: Partial<Schema['Counts']> = {}): string[] {
  const counts = { candidate: { ...NONE, ...candidate }, active: { ...NONE, ...active } };
  return judge(counts, DEFAULT_LIMITS).map((one) => one.verdict);
}

describe('judge', () => {
  it('counts before it judges', () => {
    expect(verdicts({ requests: 49, errors: 49 })).toEqual(['counting', 'counting', 'counting']);
  });

  it.each([
    [1, 'within'],
    [2, 'beyond'],
  ])('%d errors of 50 are %s 2 %%', (errors, expected) => {
    expect(verdicts({ requests: 50, errors: errors })[0]).toBe(expected);
  });

  it.each([
    [5, 'within'],
    [6, 'beyond'],
  ])('%d other answers of 100 are %s 5 %%', (differing, expected) => {
    expect(verdicts({ requests: 100, mirrored: 100, differing })[1]).toBe(expected);
  });

  it.each([
    ['twice as slow, and no more', 200_000, 100_000, 'within'],
    ['three times as slow', 300_000, 100_000, 'beyond'],
    ['three times as slow, but by less than the noise', 60_000, 20_000, 'within'],
  ])('%s: %#', (_, slow, usual, expected) => {
    const candidate = { requests: 100, run_us: slow, row_us: slow };
    expect(verdicts(candidate, { requests: 100, run_us: usual, row_us: usual })[2]).toBe(expected);
  });

  it('does not blame a candidate for sharing fewer of its runs', () => {
    const candidate = { requests: 100, run_us: 300_000, row_us: 100_000 };
    expect(verdicts(candidate, { requests: 100, run_us: 100_000, row_us: 100_000 })[2]).toBe('within');
  });

  it('tells the figures, and none where nothing was counted', () => {
    const counts = { candidate: { ...NONE, requests: 10, errors: 1 }, active: NONE };
    expect(judge(counts, DEFAULT_LIMITS).map((one) => one.value)).toEqual([10, null, null]);
  });
});
