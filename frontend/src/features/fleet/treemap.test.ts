import { describe, expect, it } from 'vitest';

import { legible, type Rectangle, treemap } from './treemap';

const area = (one: Rectangle) => one.width * one.height;

function overlap(a: Rectangle, b: Rectangle): number {
  const width = Math.min(a.left + a.width, b.left + b.width) - Math.max(a.left, b.left);
  const height = Math.min(a.top + a.height, b.top + b.height) - Math.max(a.top, b.top);
  return Math.max(0, width) * Math.max(0, height);
}

describe('treemap', () => {
  const weights = [60, 30, 20, 10, 5, 5, 1];
  const rectangles = treemap(weights, 16, 10);

  it('gives each its part of the area', () => {
    const whole = weights.reduce((total, weight) => total + weight, 0);
    rectangles.forEach((one, at) => expect(area(one)).toBeCloseTo((160 * (weights[at] ?? 0)) / whole));
  });

  it('stays inside, and lays nothing over another', () => {
    for (const [at, one] of rectangles.entries()) {
      expect(one.left).toBeGreaterThanOrEqual(0);
      expect(one.left + one.width).toBeLessThan(16.0001);
      expect(one.top + one.height).toBeLessThan(10.0001);
      for (const other of rectangles.slice(at + 1)) expect(overlap(one, other)).toBeCloseTo(0);
    }
  });

  it('prefers squares to strips', () => {
    const four = treemap([1, 1, 1, 1], 10, 10);
    expect(four.map((one) => one.width / one.height)).toEqual([1, 1, 1, 1]);
  });

  it.each([[[]], [[3]]])('makes do with %j', (some) => {
    expect(treemap(some, 4, 2).map(area)).toEqual(some.map(() => 8));
  });
});

describe('legible', () => {
  it('makes nothing smaller than its least share', () => {
    expect(legible([900, 90, 10], 0.05)).toEqual([900, 90, 50]);
  });

  it('draws what was not measured, too', () => {
    expect(legible([0, 0], 0.1)).toEqual([1, 1]);
  });
});
