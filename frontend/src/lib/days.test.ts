import { expect, it } from 'vitest';

import { byDay, formatClock } from './days';

it('puts a day over its entries, and keeps their order', () => {
  const at = ['2026-01-03T12:00:00Z', '2026-01-02T13:00:00Z', '2026-01-02T12:00:00Z'];
  const days = byDay(at.map((one, number) => ({ at: one, number })));
  expect(days.map(({ day, entries }) => [day, entries.map((one) => one.number)])).toEqual([
    ['Saturday, January 3, 2026', [0]],
    ['Friday, January 2, 2026', [1, 2]],
  ]);
});

it('shows midnight as 00', () => {
  expect(formatClock(new Date(2026, 0, 2, 0, 4, 55).toISOString())).toBe('00:04:55');
});
