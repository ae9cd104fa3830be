import { describe, expect, it } from 'vitest';

import type { Schema } from '@/lib/api/client';

import { changeWords, whyWords } from './changes';

const NONE = { active: null, candidate: null, percent: 0, mirror_percent: 0 };
const ONE = { ...NONE, active: 1 };
const TRIAL = { ...ONE, candidate: 2, percent: 10 };

function change(from: Schema['Split'], to: Schema['Split'], why = 'activated'): Schema['Change'] {
  return { at: '', by: '', why, from, to };
}

describe('changeWords', () => {
  it.each([
    [change(NONE, ONE), 'Version 1 took over'],
    [change(ONE, { ...ONE, active: 2 }), 'Version 2 took over from version 1'],
    [change(ONE, TRIAL), 'Version 2 on trial: 10 % of callers'],
    [
      change(TRIAL, { ...TRIAL, percent: 0, mirror_percent: 20 }),
      'Trial of version 2 changed: 20 % of requests in shadow',
    ],
    [change(TRIAL, ONE), 'Trial of version 2 ended'],
    [change(TRIAL, { ...NONE, active: 2 }), 'Version 2 took over from version 1'],
  ])('case %#', (given, words) => {
    expect(changeWords(given)).toBe(words);
  });
});

it('says why only where that is more', () => {
  expect(whyWords(change(NONE, ONE))).toBe('');
  expect(whyWords(change(TRIAL, ONE, 'rolled back automatically: errors 10 %'))).toContain('errors');
});
