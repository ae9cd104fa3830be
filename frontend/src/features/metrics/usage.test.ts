import { describe, expect, it } from 'vitest';

import { csvOf, grouped, PERIODS, type UsageLine } from './usage';

const line = (day: string, model: string, version: number, key: string, requests: number): UsageLine => ({
  at: `${day}T00:00:00Z`,
  model_id: model,
  version,
  key_id: key,
  sums: {
    requests,
    errors: { caller: 1, model: 2, platform: 3 },
    rows: requests,
    compute_ms: 0.5,
    mean_compute_ms: null,
    bytes_in: 10,
    bytes_out: 20,
    cold_loads: 4,
  },
});

const LINES = [
  line('2026-01-01', 'm1', 1, 'k1', 10),
  line('2026-01-01', 'm1', 2, 'k1', 20),
  line('2026-01-02', 'm2', 1, 'k2', 40),
];

describe('adding up', () => {
  it.each([
    [['model'], [30, 40]],
    [['version'], [10, 20, 40]],
    [['key'], [30, 40]],
    [
      ['day', 'key'],
      [30, 40],
    ],
    [[], [70]],
  ] as const)('by %s', (parts, requests) => {
    expect(grouped(LINES, parts).map((one) => one.requests)).toEqual(requests);
  });

  it('adds every count, and says of what', () => {
    expect(grouped(LINES, ['model'])[0]).toMatchObject({
      modelId: 'm1',
      version: null,
      keyId: null,
      day: null,
      failed: 12,
      computeMs: 1,
      bytes: 60,
    });
  });

  it('keeps version 1 of two models apart', () => {
    expect(
      grouped(
        [LINES[0], LINES[2]].flatMap((one) => one ?? []),
        ['version'],
      ),
    ).toHaveLength(2);
  });
});

describe('the file', () => {
  const names = { model: (id: string) => id, key: (id: string) => id };
  const written = (model: string) => csvOf([line('2026-01-01', model, 1, 'k1', 10)], names).split('\r\n')[1];

  it('has as many cells in every row as in its head', () => {
    const [head, row, end] = csvOf(LINES.slice(0, 1), names).split('\r\n');
    expect(row?.split(',')).toHaveLength(head?.split(',').length ?? 0);
    expect(row).toBe('2026-01-01,m1,m1,1,k1,k1,10,1,2,3,10,0.5,10,20,4');
    expect(end).toBe('');
  });

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1'])('never lets a name be a formula: %j', (name) => {
    expect(written(name)).toContain(`,'${name},`);
  });

  it('quotes what would end a cell', () => {
    expect(written('a "b", c')).toContain(',"a ""b"", c",');
    expect(written('=a,b')).toContain(`,"'=a,b",`);
  });
});

it('knows when the month and the last 30 days began, in days of UTC', () => {
  const now = Date.parse('2026-03-01T00:30:00Z');
  expect(PERIODS.map(({ since }) => since(now))).toEqual(['2026-03-01', '2026-01-31']);
});
