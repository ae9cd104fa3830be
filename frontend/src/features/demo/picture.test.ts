import { describe, expect, it } from 'vitest';

import { FULL, isBlank, type Picture, pictureOf, SIDE } from './picture';
import { SAMPLES } from './samples';
import type { Stroke } from './strokes';

const EIGHT = SAMPLES[8] ?? [];
const ONE = SAMPLES[1] ?? [];

function ink(picture: Picture): number {
  return picture.reduce((sum, cell) => sum + cell, 0) / FULL;
}

function columns(picture: Picture): number[] {
  return Array.from({ length: SIDE }, (_, column) =>
    picture.reduce((sum, cell, at) => (at % SIDE === column ? sum + cell : sum), 0),
  );
}

function moved(strokes: readonly Stroke[], scale: number, by: number): Stroke[] {
  return strokes.map((stroke) => stroke.map(([x, y]) => [x * scale + by, y * scale + by]));
}

describe('pictureOf', () => {
  it('is blank where nothing is drawn', () => {
    expect(pictureOf([])).toEqual(new Array(64).fill(0));
    expect(isBlank(pictureOf([[]]))).toBe(true);
  });

  it.each(SAMPLES.map((strokes, digit) => [digit, strokes] as const))(
    'has a %i fill the height, between empty columns at the sides, with as much ink as real ones',
    (_, strokes) => {
      const picture = pictureOf(strokes);
      expect(picture).toHaveLength(64);
      expect(picture.every((cell) => Number.isInteger(cell) && cell >= 0 && cell <= FULL)).toBe(true);
      expect(Math.max(...picture.slice(0, SIDE))).toBeGreaterThan(0);
      expect(Math.max(...picture.slice(-SIDE))).toBeGreaterThan(0);
      expect(columns(picture)[0]).toBe(0);
      expect(columns(picture)[7]).toBe(0);
      expect(ink(picture)).toBeGreaterThan(16);
      expect(ink(picture)).toBeLessThan(23.5);
    },
  );

  it.each([
    [0.3, 0.02],
    [0.5, 0.45],
  ])('does not mind how large it is drawn (%f), nor where (%f)', (scale, by) => {
    const [drawn, elsewhere] = [pictureOf(EIGHT), pictureOf(moved(EIGHT, scale, by))];
    const differing = drawn.map((cell, at) => Math.abs(cell - (elsewhere[at] ?? 0)));
    expect(Math.max(...differing)).toBeLessThanOrEqual(1); // of 16: a dot on the pen's very edge
  });

  it('keeps a 1 narrow and upright in the middle', () => {
    const [left, right] = [columns(pictureOf(ONE)).slice(0, 2), columns(pictureOf(ONE)).slice(6)];
    expect([...left, ...right]).toEqual([0, 0, 0, 0]);
  });

  it.each<[string, Stroke[]]>([
    ['a dot', [[[0.2, 0.7]]]],
    [
      'a level line',
      [
        [
          [0.1, 0.5],
          [0.9, 0.5],
        ],
      ],
    ],
  ])('makes no digit of %s', (_, strokes) => {
    const picture = pictureOf(strokes);
    expect(isBlank(picture)).toBe(false);
    expect(Math.max(...picture.slice(0, SIDE), ...picture.slice(-SIDE))).toBe(0);
  });
});
