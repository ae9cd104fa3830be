import { describe, expect, it } from 'vitest';

import {
  codesOf,
  countedOf,
  errorRate,
  errorRows,
  latencyRows,
  logBounds,
  logPosition,
  type Measured,
  OTHER,
  requestRows,
  slotsOf,
  throughputRows,
} from './series';

const NONE = { total: null, queue: null, batch: null, load: null, run: null };

function measured(
  requests: number,
  failed: Partial<Measured['sums']['errors']> = {},
  codes: Measured['codes'] = {},
) {
  const errors = { caller: 0, model: 0, platform: 0, ...failed };
  const sums = {
    requests,
    errors,
    rows: 2 * requests,
    compute_ms: 0,
    mean_compute_ms: null,
    bytes_in: 0,
    bytes_out: 0,
    cold_loads: 0,
  };
  return { sums, codes, latency: NONE } satisfies Measured;
}

describe('the time axis', () => {
  it('has a slot for every minute, also for those in which nobody asked', () => {
    const slots = slotsOf({
      by: 'minute',
      since: '2026-01-01T00:00:00Z',
      until: '2026-01-01T00:04:00Z',
      points: [
        { at: '2026-01-01T00:01:00Z', measured: measured(1) },
        { at: '2026-01-01T00:03:00Z', measured: measured(2) },
      ],
    });
    expect(slots.map(({ measured: found }) => found?.sums.requests ?? 0)).toEqual([0, 1, 0, 2]);
    expect(slots.map(({ at }) => new Date(at).getUTCMinutes())).toEqual([0, 1, 2, 3]);
  });

  it('has days of 24 hours, whatever clocks do', () => {
    const days = slotsOf({
      by: 'day',
      since: '2026-03-01T00:00:00Z',
      until: '2026-04-01T00:00:00Z',
      points: [],
    });
    expect(days).toHaveLength(31);
  });
});

describe('how requests ended', () => {
  it('counts those that no host was asked to run, which are in codes alone', () => {
    const counted = countedOf(measured(10, { caller: 2 }, { invalid_tensor: 2, overloaded: 5 }));
    expect(counted).toMatchObject({ answered: 8, failed: 7, asked: 15 });
  });

  it('shows failures without a code as other', () => {
    expect(countedOf(measured(10, { model: 3 }, { model_failed: 1 })).codes).toEqual({
      model_failed: 1,
      [OTHER]: 2,
    });
  });

  it('is unknown, not zero, where nobody asked', () => {
    expect(errorRate(countedOf(null))).toBeNull();
    expect(errorRows([{ at: 0, measured: null }])).toEqual([{ at: 0, rate: null }]);
    expect(errorRate(countedOf(measured(4, { platform: 1 }, { unavailable: 1 })))).toBe(0.25);
  });

  it('stacks the rarer codes as other, and loses none', () => {
    const one = measured(10, {}, { a: 5, b: 4, c: 3, d: 2 });
    const codes = codesOf(countedOf(one), 2);
    expect(codes).toEqual(['a', 'b', OTHER]);
    expect(requestRows([{ at: 0, measured: one }], codes)).toEqual([
      { at: 0, answered: 10, a: 5, b: 4, other: 5 },
    ]);
  });
});

it('leaves a gap in percentiles where nobody asked', () => {
  const found = { count: 1, mean_ms: 1, p50_ms: 1, p90_ms: 2, p99_ms: 3 };
  const one = { ...measured(1), latency: { ...NONE, run: found } };
  const slots = [
    { at: 0, measured: null },
    { at: 1, measured: one },
  ];
  expect(latencyRows(slots, 'run')).toEqual([
    { at: 0, p50: null, p90: null, p99: null },
    { at: 1, p50: 1, p90: 2, p99: 3 },
  ]);
});

it('counts rows a second over what has passed of the minute that runs', () => {
  const slots = [0, 60_000].map((at) => ({ at, measured: measured(30) }));
  expect(throughputRows(slots, 60_000, 70_000).map(({ rows }) => rows)).toEqual([1, 6]);
});

describe('times side by side', () => {
  it('have powers of ten around them, and one in between at least', () => {
    expect(logBounds([0, 0.3, 45])).toEqual([0.1, 100]);
    expect(logBounds([10])).toEqual([10, 100]);
    expect(logBounds([])).toEqual([0.1, 1]);
  });

  it.each([
    [0, 0],
    [0.1, 0],
    [1, 0.5],
    [10, 1],
    [99, 1],
  ])('%s ms lies at %s between 0.1 and 10 ms', (ms, position) => {
    expect(logPosition(ms, [0.1, 10])).toBeCloseTo(position);
  });
});
