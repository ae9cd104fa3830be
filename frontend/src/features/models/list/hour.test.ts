import { expect, it } from 'vitest';

import type { Schema } from '@/lib/api/client';

import { minutes } from './hour';

function point(at: string, requests: number, model: number): Schema['MetricsPoint'] {
  const sums = { requests, errors: { caller: 0, model, platform: 0 } };
  return { at, measured: { sums } as Schema['Measured'] };
}

it('has a number for every minute, also where nobody asked', () => {
  const metrics = {
    since: '2026-01-01T12:00:00Z',
    until: '2026-01-01T12:04:00Z',
    points: [point('2026-01-01T12:01:00Z', 5, 2), point('2026-01-01T12:03:00Z', 1, 0)],
  } as Schema['Metrics'];
  expect(minutes(metrics)).toEqual({ requests: [0, 5, 0, 1], errors: [0, 2, 0, 0] });
});

it('leaves out what lies outside', () => {
  const metrics = {
    since: '2026-01-01T12:00:00Z',
    until: '2026-01-01T12:01:00Z',
    points: [point('2026-01-01T11:59:00Z', 5, 0), point('2026-01-01T12:01:00Z', 5, 0)],
  } as Schema['Metrics'];
  expect(minutes(metrics)).toEqual({ requests: [0], errors: [0] });
});
