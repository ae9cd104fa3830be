import { expect, it } from 'vitest';

import { points, sticks } from './Sparkline';

it('draws the oldest at the left, the most at the top', () => {
  expect(points([0, 5, 10], 10)).toBe('0.0,27.0 60.0,14.0 120.0,1.0');
});

it('draws sticks where there is something, and nothing elsewhere', () => {
  expect(sticks([0, 0, 10], 10)).toBe('M120.0,27.0V1.0');
});
