import { describe, expect, it } from 'vitest';

import type { Schema } from '@/lib/api/client';

import { shares, splitWords } from './split';

function traffic(active: number | null, percent?: number, mirror = 0): Schema['Traffic'] {
  const candidate = percent === undefined ? null : { version: 2, percent, mirror_percent: mirror };
  return { active, activating: null, previous: null, candidate: candidate as Schema['Traffic']['candidate'] };
}

describe('shares', () => {
  it.each([
    [traffic(null), []],
    [traffic(1), [{ version: 1, role: 'active', percent: 100 }]],
    [traffic(1, 0, 20), [{ version: 1, role: 'active', percent: 100 }]],
    [
      traffic(1, 10),
      [
        { version: 1, role: 'active', percent: 90 },
        { version: 2, role: 'candidate', percent: 10 },
      ],
    ],
  ])('case %#', (given, expected) => {
    expect(shares(given)).toEqual(expected);
  });
});

describe('splitWords', () => {
  it.each([
    [traffic(null), 'No version answers yet.'],
    [traffic(1), 'Version 1 answers all callers.'],
    [traffic(1, 10), 'Version 1 answers 90 % of callers, version 2 10 %.'],
    [
      traffic(1, 0, 20),
      'Version 1 answers all callers. 20 % of requests are run by both, and the answers compared.',
    ],
  ])('case %#', (given, words) => {
    expect(splitWords(given)).toBe(words);
  });
});
