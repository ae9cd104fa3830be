import { expect, it } from 'vitest';

import { polled } from './polling';

it('asks again by what there is, and not while there is nothing', () => {
  const interval = polled((jobs: number) => (jobs > 0 ? 1_000 : false));
  expect([undefined, 0, 2].map((data) => interval({ state: { data } }))).toEqual([false, false, 1_000]);
});
