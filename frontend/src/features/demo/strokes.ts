/** Across and down, as shares of the drawing area: 0 to 1. */
export type Point = readonly [x: number, y: number];

/** From where the pen is put down to where it is lifted. */
export type Stroke = readonly Point[];

const STEPS = 8;

/** A curve through all of them (Catmull-Rom), as a stroke of many short lines. */
export function curve(...points: readonly Point[]): Stroke {
  return points.slice(1).flatMap((to, index) => {
    const from = points[index] ?? to;
    const before = points[index - 1] ?? mirrored(to, from);
    const after = points[index + 2] ?? mirrored(from, to);
    const first = index === 0 ? 0 : 1; // where the piece before it ended
    return Array.from({ length: STEPS + 1 - first }, (_, step): Point => {
      const t = (step + first) / STEPS;
      return [
        between(before[0], from[0], to[0], after[0], t),
        between(before[1], from[1], to[1], after[1], t),
      ];
    });
  });
}

function mirrored([x, y]: Point, [atX, atY]: Point): Point {
  return [2 * atX - x, 2 * atY - y];
}

function between(before: number, from: number, to: number, after: number, t: number): number {
  return (
    from +
    0.5 *
      t *
      (to - before + t * (2 * before - 5 * from + 4 * to - after + t * (3 * (from - to) + after - before)))
  );
}
