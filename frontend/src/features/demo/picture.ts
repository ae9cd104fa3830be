import type { Point, Stroke } from './strokes';

/**
 * Strokes as the pictures of scikit-learn's `load_digits` have them (Alpaydin and Kaynak, 1998): the digit fills
 * a bitmap of 32 × 32 from top to bottom, and each of the 8 × 8 numbers counts the ink of a block of 4 × 4.
 * All of them hold about as much ink (19.5 of 64 cells, the standard deviation is 2.2), whether a 1 or an 8:
 * so does what is drawn here, by the width of the pen.
 */
export type Picture = readonly number[];

export const SIDE = 8;
/** A cell that is all ink. */
export const FULL = 16;

const BLOCK = 4;
const GRID = SIDE * BLOCK;
/** Of the middle of the pen's way; the ink goes further. Digits are narrower than the bitmap there too. */
const HEIGHT = 26;
const WIDTH_MAX = 18;
const STRETCH = 1.15;
const INK = 330;
const PEN_RADIUS = { min: 1, max: 4.5 };
/** What is flatter than this, or shorter, was no digit: it is not blown up to one. */
const FLAT = 0.3;
const THIN = 0.15;
const SIZE_MIN = 0.05;

/** 64 numbers from 0 to 16, row by row. All 0 where nothing is drawn. */
export function pictureOf(strokes: readonly Stroke[]): Picture {
  const points = strokes.flat();
  const blank = new Array<number>(SIDE * SIDE).fill(0);
  if (points.length === 0) return blank;
  const distances = distancesTo(fitted(strokes, points));
  const radius = penRadius(distances);
  distances.forEach((distance, at) => {
    if (distance > radius) return;
    const cell = Math.floor(Math.floor(at / GRID) / BLOCK) * SIDE + Math.floor((at % GRID) / BLOCK);
    blank[cell] = (blank[cell] ?? 0) + 1;
  });
  return blank;
}

export function isBlank(picture: Picture): boolean {
  return picture.every((ink) => ink === 0);
}

/** The strokes at their place in the bitmap. */
function fitted(strokes: readonly Stroke[], points: readonly Point[]): Stroke[] {
  const [left, right] = extent(points.map(([x]) => x));
  const [top, bottom] = extent(points.map(([, y]) => y));
  const [width, height] = [right - left, bottom - top];
  const size = Math.max(width, height, SIZE_MIN);
  const down = HEIGHT / Math.max(height, FLAT * size);
  const wanted = Math.min(width * down * STRETCH, WIDTH_MAX);
  const across = width > THIN * size ? wanted / width : down;
  const [middleX, middleY] = [(left + right) / 2, (top + bottom) / 2];
  return strokes.map((stroke) =>
    stroke.map(([x, y]) => [(x - middleX) * across + GRID / 2, (y - middleY) * down + GRID / 2]),
  );
}

function extent(values: readonly number[]): [least: number, most: number] {
  return values.reduce<[number, number]>(
    ([least, most], value) => [Math.min(least, value), Math.max(most, value)],
    [Infinity, -Infinity],
  );
}

/** How far the middle of each dot of the bitmap is from the pen's way, squared. */
function distancesTo(strokes: readonly Stroke[]): Float64Array {
  const distances = new Float64Array(GRID * GRID).fill(Infinity);
  for (const [from, to] of strokes.flatMap(lines)) {
    for (let at = 0; at < distances.length; at += 1) {
      const distance = distanceToLine((at % GRID) + 0.5, Math.floor(at / GRID) + 0.5, from, to);
      if (distance < (distances[at] ?? 0)) distances[at] = distance;
    }
  }
  return distances;
}

/** A dot is a line without length. */
function lines(stroke: Stroke): [from: Point, to: Point][] {
  const [first] = stroke;
  if (first === undefined) return [];
  if (stroke.length === 1) return [[first, first]];
  return stroke.slice(1).map((to, index) => [stroke[index] ?? to, to]);
}

function distanceToLine(x: number, y: number, from: Point, to: Point): number {
  const dx = to[0] - from[0];
  const dy = to[1] - from[1];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : ((x - from[0]) * dx + (y - from[1]) * dy) / length;
  const nearest = Math.min(1, Math.max(0, along));
  const offX = x - from[0] - nearest * dx;
  const offY = y - from[1] - nearest * dy;
  return offX * offX + offY * offY;
}

/** Squared, of a pen that leaves as much ink as the pictures have on average. */
function penRadius(distances: Float64Array): number {
  const nearest = distances.toSorted()[INK] ?? Infinity;
  return Math.min(PEN_RADIUS.max ** 2, Math.max(PEN_RADIUS.min ** 2, nearest));
}
