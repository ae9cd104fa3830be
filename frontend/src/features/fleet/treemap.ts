export interface Rectangle {
  left: number;
  top: number;
  width: number;
  height: number;
}

interface Row {
  areas: readonly number[];
  total: number;
}

/**
 * Divides `width` × `height` into rectangles with areas in proportion to `weights`, as near to squares as it
 * goes (Bruls, Huizing, van Wijk: Squarified Treemaps, 2000). Weights are positive, the largest first.
 */
export function treemap(weights: readonly number[], width: number, height: number): Rectangle[] {
  const total = sum(weights);
  const scale = total > 0 ? (width * height) / total : 0;
  const found: Rectangle[] = [];
  let free: Rectangle = { left: 0, top: 0, width, height };
  let left = weights.map((weight) => weight * scale);
  while (left.length > 0) {
    const row = firstRow(left, Math.min(free.width, free.height));
    found.push(...placed(row, free));
    free = without(row, free);
    left = left.slice(row.areas.length);
  }
  return found;
}

/** Bytes as weights: nothing so small beside the rest that it could not be read. */
export function legible(bytes: readonly number[], leastShare: number): number[] {
  const least = Math.max(1, sum(bytes) * leastShare);
  return bytes.map((one) => Math.max(one, least));
}

/** As many areas along a side of this length as make the row's worst rectangle better. */
function firstRow(areas: readonly number[], side: number): Row {
  let count = 1;
  while (count < areas.length && worst(areas.slice(0, count + 1), side) <= worst(areas.slice(0, count), side))
    count += 1;
  const taken = areas.slice(0, count);
  return { areas: taken, total: sum(taken) };
}

/** The longest side over the shortest of the row's worst rectangle. */
function worst(areas: readonly number[], side: number): number {
  const depth = sum(areas) / side;
  return Math.max(...areas.map((area) => Math.max(depth ** 2 / area, area / depth ** 2)));
}

function placed(row: Row, free: Rectangle): Rectangle[] {
  const upright = free.width >= free.height;
  const depth = row.total / (upright ? free.height : free.width);
  let at = upright ? free.top : free.left;
  return row.areas.map((area) => {
    const start = at;
    const length = area / depth;
    at += length;
    return upright
      ? { left: free.left, top: start, width: depth, height: length }
      : { left: start, top: free.top, width: length, height: depth };
  });
}

function without(row: Row, free: Rectangle): Rectangle {
  if (free.width >= free.height) {
    const depth = row.total / free.height;
    return { ...free, left: free.left + depth, width: free.width - depth };
  }
  const depth = row.total / free.width;
  return { ...free, top: free.top + depth, height: free.height - depth };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
