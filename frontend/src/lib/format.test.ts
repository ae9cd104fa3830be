import { describe, expect, it } from 'vitest';

import { formatAgo, formatBytes, formatMs, formatShape, formatUsd } from './format';

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1_536, '1.5 kB'],
    [20_000_000, '20 MB'],
    [3e15, '3000 TB'],
  ])('%d → %s', (bytes, shown) => {
    expect(formatBytes(bytes)).toBe(shown);
  });
});

describe('formatMs', () => {
  it.each([
    [0.0421, '42.1 µs'],
    [0, '0 ms'],
    [12.345, '12.3 ms'],
    [61_000, '61 s'],
    [null, '–'],
  ])('%s → %s', (ms, shown) => {
    expect(formatMs(ms)).toBe(shown);
  });
});

describe('formatAgo', () => {
  const now = Date.parse('2026-01-01T12:00:00Z');
  it.each([
    ['2026-01-01T11:59:50Z', 'just now'],
    ['2026-01-01T11:57:00Z', '3 minutes ago'],
    ['2026-01-03T12:00:00Z', 'in 2 days'],
  ])('%s → %s', (at, shown) => {
    expect(formatAgo(at, now)).toBe(shown);
  });
});

it('shows a free dimension as any', () => {
  expect(formatShape([null, 3, 8])).toBe('any × 3 × 8');
});

it('never shows a small cost as nothing', () => {
  expect(formatUsd(0.0001)).toBe('< $0.01');
});
