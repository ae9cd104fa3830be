import type { Callable, Tensor } from '@/lib/examples';
import { isList, type Json, type JsonObject, Numeral } from '@/lib/json';

import { type Layout, layoutsOf } from './images';
import { kindOf, leavesOf, misfit } from './values';

/** Which editors an input can be filled in with. Pure. */

/** `fields`: a box for each value of one row. `table`: rows by paste or file. `json`: whatever there is. */
export type Editor = 'fields' | 'table' | 'image' | 'json';

/** An input as the form has it. `shape`: with a size wherever any may go. */
export interface Field {
  tensor: Tensor;
  shape: readonly number[];
  layouts: readonly Layout[];
  /** What fits its type, the best for this example first. */
  editors: readonly Editor[];
}

/** More boxes than this are no form. */
const FIELDS_MAX = 32;
/** A line of numbers that is a picture in well-known data: digits of 8 × 8 and of 28 × 28. */
const KNOWN_PICTURES: ReadonlySet<number> = new Set([64, 784]);

export function fieldsOf({ signature, shapes, inputs }: Callable): Field[] {
  return signature.inputs.map((tensor) => {
    const shape = shapes.get(tensor.name) ?? [];
    const layouts = imageLayouts(tensor, shape);
    return {
      tensor,
      shape,
      layouts,
      editors: editors(shape, layouts, inputs.get(tensor.name) ?? null),
    };
  });
}

/** The editors that can show this very value. JSON always can. */
export function usable({ tensor, shape, editors: all }: Field, value: Json): Editor[] {
  if (misfit(value, tensor) !== null) return ['json'];
  const oneRow = leavesOf(value).length === product(shape);
  return all.filter((editor) => oneRow || editor === 'table' || editor === 'json');
}

/** The part of the shape that a row has. An input of a fixed number of rows is taken as a whole. */
export function rowShape({ tensor, shape }: Pick<Field, 'tensor' | 'shape'>): readonly number[] {
  return tensor.shape[0] === null || shape[0] === 1 ? shape.slice(1) : shape;
}

/** How many values a line of a table has; null where any number goes. */
export function columnsOf({ shape }: Tensor): number | null {
  return shape.length === 1 ? 1 : (shape[1] ?? null);
}

/** Why inputs are not those of the model; null where they are. */
export function misnamed(fields: readonly Field[], inputs: JsonObject): string | null {
  const names = fields.map(({ tensor }) => tensor.name);
  const unknown = [...inputs.keys()].find((name) => !names.includes(name));
  if (unknown !== undefined) return `The model has no input “${unknown}”; it takes ${names.join(', ')}.`;
  const missing = names.find((name) => !inputs.has(name));
  return missing === undefined ? null : `The input “${missing}” is missing.`;
}

function editors(shape: readonly number[], layouts: readonly Layout[], example: Json): Editor[] {
  const found: Editor[] = [];
  const picture = layouts.length > 0;
  if (picture && looksLikePicture(layouts, example)) found.push('image');
  if (product(shape) <= FIELDS_MAX) found.push('fields');
  if (shape.length === 1 || shape.length === 2) found.push('table');
  if (picture && !found.includes('image')) found.push('image');
  return [...found, 'json'];
}

/** A line of numbers may as well be a table's: brightness has no sign. */
function looksLikePicture([layout]: readonly Layout[], example: Json): boolean {
  if (layout?.order !== 'flat' || KNOWN_PICTURES.has(layout.width * layout.height)) return true;
  return leavesOf(example).every((leaf) => leaf instanceof Numeral && Number(leaf.text) >= 0);
}

function imageLayouts(tensor: Tensor, shape: readonly number[]): Layout[] {
  const numbers = kindOf(tensor.dtype) === 'float' || kindOf(tensor.dtype) === 'integer';
  return numbers && shape[0] === 1 ? layoutsOf(shape.slice(1)) : [];
}

function product(shape: readonly number[]): number {
  return shape.reduce((all, size) => all * size, 1);
}

/** A table's rows of a value of one or two dimensions. */
export function rowsOf(value: Json): Json[][] {
  return isList(value) ? value.map((row) => (isList(row) ? [...row] : [row])) : [];
}

/** The value of a table's rows, in as many dimensions as the input has. */
export function fromRows(rows: readonly Json[][], { shape }: Tensor): Json {
  return shape.length === 1 ? rows.map((row) => row[0] ?? null) : rows;
}
