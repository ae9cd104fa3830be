import { describe, expect, it } from 'vitest';

import type { Schema } from '@/lib/api/client';

import { wayBack } from './rollback';

const TWO: Schema['Traffic'] = { active: 2, activating: null, candidate: null, previous: 1 };
const candidate = { version: 3, percent: 10 } as Schema['Traffic']['candidate'];

describe('wayBack', () => {
  it.each([
    ['the candidate goes first', { ...TWO, candidate, activating: 4 }, 'End the trial', null],
    ['else what is about to take over', { ...TWO, activating: 4 }, 'Keep version 4 out', null],
    ['else the version before comes back', TWO, 'Roll back to version 1', 1],
  ])('%s', (_, traffic, button, version) => {
    expect(wayBack(traffic)).toMatchObject({ button, request: { version } });
  });

  it('is none where nothing was before', () => {
    expect(wayBack({ ...TWO, previous: null })).toBeNull();
  });
});
