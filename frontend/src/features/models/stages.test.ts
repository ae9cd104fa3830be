import { describe, expect, it } from 'vitest';

import { position, STEPS, steps } from './stages';

describe('position', () => {
  it.each([
    ['uploading', null, 0],
    ['preparing', null, 1],
    ['preparing', 'queued', 1],
    ['preparing', 'measuring', 5],
    ['ready', 'warming', 6],
    ['ready', null, null],
    ['failed', null, null],
  ] as const)('%s, %s → %s', (state, stage, expected) => {
    expect(position({ state, stage })).toBe(expected);
  });
});

describe('steps', () => {
  it('are done before the one under way, and wait after it', () => {
    const states = steps({ state: 'preparing', stage: 'validating' })?.map((step) => step.state);
    expect(states).toEqual(['done', 'done', 'done', 'now', 'waiting', 'waiting', 'waiting']);
  });

  it('are none when nothing is under way', () => {
    expect(steps({ state: 'ready', stage: null })).toBeNull();
  });

  it('each say what happens', () => {
    expect(STEPS.every((step) => step.means.endsWith('.'))).toBe(true);
  });
});
