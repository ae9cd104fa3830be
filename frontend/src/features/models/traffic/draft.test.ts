import { describe, expect, it } from 'vitest';

import type { Schema } from '@/lib/api/client';
import type { Version } from '@/lib/models';

import { actionWords, changeOf, eligible, firstDraft } from './draft';
import { DEFAULT_LIMITS } from './limits';

const NONE: Schema['Traffic'] = { active: 1, activating: null, candidate: null, previous: null };
const LIMITS = { ...DEFAULT_LIMITS, errors_percent_max: 1 };

function onTrial(percent: number, mirror_percent: number): Schema['Traffic'] {
  return { ...NONE, candidate: { version: 2, percent, mirror_percent, limits: LIMITS, counts: null } };
}

it('offers ready versions that are not active, the newest first', () => {
  const versions = [
    { number: 1, state: 'ready' },
    { number: 2, state: 'ready' },
    { number: 3, state: 'failed' },
    { number: 4, state: 'ready' },
  ] as Version[];
  expect(eligible(versions, NONE)).toEqual([4, 2]);
});

describe('firstDraft', () => {
  it('is a small trial of the newest version', () => {
    expect(firstDraft(NONE, [4, 2])).toMatchObject({
      mode: 'canary',
      version: 4,
      percent: 10,
      mirrorPercent: 0,
    });
  });

  it('gives everything where nothing answers', () => {
    expect(firstDraft({ ...NONE, active: null }, [4]).mode).toBe('all');
  });

  it('goes on from the trial under way', () => {
    expect(firstDraft(onTrial(30, 5), [4, 2])).toEqual({
      mode: 'canary',
      version: 2,
      percent: 30,
      mirrorPercent: 5,
      limits: LIMITS,
    });
    expect(firstDraft(onTrial(0, 5), [4, 2])).toMatchObject({ mode: 'shadow', mirrorPercent: 5 });
  });
});

describe('changeOf', () => {
  const draft = { version: 2, percent: 30, mirrorPercent: 0, limits: LIMITS };
  it.each([
    ['canary', { version: 2, percent: 30, mirror_percent: 0, limits: LIMITS }],
    ['shadow', { version: 2, percent: 0, mirror_percent: 1, limits: LIMITS }],
    ['all', { version: 2, percent: 100, mirror_percent: 0, limits: DEFAULT_LIMITS }],
  ] as const)('%s', (mode, change) => {
    expect(changeOf({ ...draft, mode })).toEqual(change);
  });
});

describe('actionWords', () => {
  const draft = { version: 2, percent: 30, mirrorPercent: 20, limits: LIMITS };
  it.each([
    ['canary', null, 'Start with 30 % of callers'],
    ['shadow', null, 'Start with 20 % of requests'],
    ['canary', 2, 'Change the trial of version 2'],
    ['all', 2, 'Give version 2 all traffic'],
  ] as const)('%s beside %s', (mode, candidate, words) => {
    expect(actionWords({ ...draft, mode }, candidate)).toBe(words);
  });
});
