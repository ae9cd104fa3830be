import { describe, expect, it } from 'vitest';

import type { Schema } from '@/lib/api/client';

import { reach, reachWords } from './sharing';

function radius(hosts: number, ...sharing: Schema['Sharing'][]): Schema['BlastRadius'] {
  return { model_id: 'm', name: 'digits', hosts, sharing };
}

const BOTH = { hosts: 2, own: ['letters'], others: 1 };
const ONE = { hosts: 1, own: [], others: 4 };

it('counts neighbours, and those that are everywhere it is', () => {
  expect(reach(radius(2, BOTH, ONE))).toEqual({ neighbours: 6, onAll: 2 });
});

describe('reachWords', () => {
  it.each([
    [radius(0), 'It is on no host now, so it disturbs nobody and nobody disturbs it.'],
    [radius(1), 'It has 1 host to itself.'],
    [
      radius(2, ONE),
      'If it harmed all of its 2 hosts, 4 other models would notice, and every one of them may have another host.',
    ],
    [
      radius(2, BOTH),
      'If it harmed all of its 2 hosts, 2 other models would notice: all of them are on each of these hosts.',
    ],
    [
      radius(2, BOTH, ONE),
      'If it harmed all of its 2 hosts, 6 other models would notice. 2 of them are on each of these hosts, the others only on some.',
    ],
  ])('case %#', (given, words) => {
    expect(reachWords(given)).toBe(words);
  });
});
