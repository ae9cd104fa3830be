import { shapeIn, type Tensor } from '@/lib/examples';
import { isList, type Json, type JsonObject, Numeral } from '@/lib/json';

import { extent, kindOf, leavesOf, leafText } from './values';

/** How an output is best shown. Pure. */

export type Shown =
  | { kind: 'probabilities'; rows: number[][] }
  /** One value a row: a class, a text, a yes or no. */
  | { kind: 'labels'; rows: string[] }
  /** One number a row. */
  | { kind: 'numbers'; rows: string[] }
  | { kind: 'table'; rows: string[][]; columns: number }
  /** Too many dimensions for a table. `range`: of its numbers, where it has any. */
  | { kind: 'tensor'; shape: number[]; range: { least: number; most: number } | null };

export interface Output {
  name: string;
  shown: Shown;
}

const SUM_TOLERANCE = 0.01;

/** The outputs of an answer, in the signature's order. */
export function outputsOf(result: JsonObject, outputs: readonly Tensor[]): Output[] {
  const declared = new Map(outputs.map((one) => [one.name, one.dtype]));
  return [...result].map(([name, value]) => ({
    name,
    shown: shownAs(value, declared.get(name) ?? 'float32'),
  }));
}

function shownAs(value: Json, dtype: string): Shown {
  const shape = shapeIn(value);
  if (shape.length > 2) return summary(value, shape);
  const rows = (shape.length === 0 ? [value] : isList(value) ? value : []).map((row) =>
    isList(row) ? row : [row],
  );
  const columns = rows.reduce((most, row) => Math.max(most, row.length), 0);
  if (columns > 1 && kindOf(dtype) === 'float' && rows.every(isDistribution)) {
    return { kind: 'probabilities', rows: rows.map((row) => row.map(numberOf)) };
  }
  if (columns === 1) {
    const kind = kindOf(dtype) === 'float' ? 'numbers' : 'labels';
    return { kind, rows: rows.map((row) => leafText(row[0] ?? null)) };
  }
  return { kind: 'table', rows: rows.map((row) => row.map(leafText)), columns };
}

/** Nothing negative, and all of it one. */
function isDistribution(row: readonly Json[]): boolean {
  if (!row.every((leaf) => leaf instanceof Numeral && Number(leaf.text) >= 0)) return false;
  return Math.abs(row.reduce<number>((sum, leaf) => sum + numberOf(leaf), 0) - 1) <= SUM_TOLERANCE;
}

function summary(value: Json, shape: number[]): Shown {
  const numbers = leavesOf(value).filter((leaf) => leaf instanceof Numeral);
  return { kind: 'tensor', shape, range: numbers.length > 0 ? extent(numbers.map(numberOf)) : null };
}

function numberOf(leaf: Json): number {
  return leaf instanceof Numeral ? Number(leaf.text) : Number.NaN;
}

/** The likeliest classes, the first of all first. */
export function ranked(row: readonly number[], most: number): { index: number; share: number }[] {
  return row
    .map((share, index) => ({ index, share }))
    .sort((one, other) => other.share - one.share || one.index - other.index)
    .slice(0, most);
}
