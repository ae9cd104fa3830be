import { describe, expect, it } from 'vitest';

import type { Model } from '@/lib/models';

import { serving } from './serving';

const MODEL = { active: null, activating: null, latest: null } as unknown as Model;

function latest(told: object): Model['latest'] {
  return { number: 2, stage: null, ...told } as Model['latest'];
}

describe('serving', () => {
  it.each([
    ['nothing uploaded', {}, 'empty', null],
    ['a first upload', { latest: latest({ state: 'uploading' }) }, 'uploading', 'Version 2: uploading'],
    [
      'a second one beside the active one',
      { active: 1, latest: latest({ state: 'preparing', stage: 'measuring' }) },
      'active',
      'Version 2: measuring',
    ],
    [
      'a switch',
      { active: 1, activating: 2, latest: latest({ state: 'ready' }) },
      'active',
      'Version 2 is being loaded',
    ],
    ['a first that failed', { latest: latest({ state: 'failed' }) }, 'failed', null],
    [
      'a second that failed',
      { active: 1, latest: latest({ state: 'failed' }) },
      'active',
      'Version 2 failed',
    ],
    ['one that waits', { latest: latest({ state: 'ready' }) }, 'ready', 'It has no traffic yet'],
    [
      'a quarantine',
      { active: 2, quarantined: true, latest: latest({ state: 'ready' }) },
      'quarantined',
      'Version 2 crashed twice and rests',
    ],
    ['all is well', { active: 2, latest: latest({ state: 'ready' }) }, 'active', null],
  ])('%s', (_, told, state, note) => {
    expect(serving({ ...MODEL, ...told })).toMatchObject({ state, note });
  });
});
