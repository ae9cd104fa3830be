import type { Tensor } from '@/lib/examples';
import { isList, isObject, type Json, Numeral, writeJson } from '@/lib/json';

/** Tensors as nested lists: taken apart, put together, and checked against what an input takes. */

export type Kind = 'float' | 'integer' | 'bool' | 'text';

export function kindOf(dtype: string): Kind {
  if (dtype === 'string') return 'text';
  if (dtype === 'bool') return 'bool';
  return dtype.includes('float') ? 'float' : 'integer';
}

/** All values of nested lists, in order. */
export function leavesOf(value: Json): Json[] {
  return isList(value) ? value.flatMap(leavesOf) : [value];
}

/** Nested lists of this shape from values in order. */
export function shaped(leaves: readonly Json[], shape: readonly number[]): Json {
  const [size, ...rest] = shape;
  if (size === undefined) return leaves[0] ?? null;
  const width = rest.reduce((product, one) => product * one, 1);
  return Array.from({ length: size }, (_, index) =>
    shaped(leaves.slice(index * width, (index + 1) * width), rest),
  );
}

/** Of no numbers: both 0. */
export function extent(numbers: readonly number[]): { least: number; most: number } {
  const [first = 0] = numbers;
  return numbers.reduce(
    ({ least, most }, one) => ({ least: Math.min(least, one), most: Math.max(most, one) }),
    { least: first, most: first },
  );
}

/** As a person would type it. Nothing is NaN. */
export function leafText(leaf: Json): string {
  if (leaf instanceof Numeral) return leaf.text;
  if (typeof leaf === 'string') return leaf;
  return leaf === null ? 'NaN' : writeJson(leaf);
}

const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const NOTHING = new Set(['nan', 'na', 'n/a', 'null', 'none']);
const BOOLS: Readonly<Record<string, boolean>> = {
  true: true,
  false: false,
  yes: true,
  no: false,
  '1': true,
  '0': false,
};

/** What was typed for one value. Throws `Error` that says what was expected. */
export function readLeaf(typed: string, kind: Kind): Json {
  if (kind === 'text') return typed;
  const text = typed.trim();
  if (kind === 'bool') return readBool(text);
  if (kind === 'float' && NOTHING.has(text.toLowerCase())) return null;
  if (!NUMBER.test(text)) throw new Error(`${shown(text)} is not a number`);
  if (kind === 'integer' && !isWhole(text)) throw new Error(`${shown(text)} is not a whole number`);
  return new Numeral(asJson(text));
}

/** Why a value does not fit an input; null where it does. */
export function misfit(value: Json, { dtype, shape }: Tensor): string | null {
  let level: readonly Json[] = [value];
  for (const [axis, size] of shape.entries()) {
    if (!level.every(isList)) return `${dimensions(shape.length)} expected, and this has ${axis}.`;
    const sizes = new Set(level.map((list) => list.length));
    if (sizes.size > 1) return 'Its lists are not all of the same length.';
    const [found] = sizes;
    if (size !== null && found !== undefined && found !== size) {
      return `Dimension ${axis + 1} has ${found} values, and ${size} are expected.`;
    }
    level = level.flat();
  }
  const wrong = level.find((leaf) => !fits(leaf, kindOf(dtype)));
  if (wrong === undefined) return null;
  if (isList(wrong)) return `${dimensions(shape.length)} expected, and this has more.`;
  return `${isObject(wrong) ? 'An object' : shown(leafText(wrong))} is no ${dtype}.`;
}

function dimensions(count: number): string {
  return count === 1 ? '1 dimension is' : `${count} dimensions are`;
}

function fits(leaf: Json, kind: Kind): boolean {
  if (kind === 'text') return typeof leaf === 'string';
  if (kind === 'bool') return typeof leaf === 'boolean';
  if (kind === 'float') return leaf === null || leaf instanceof Numeral;
  return leaf instanceof Numeral && isWhole(leaf.text);
}

function readBool(text: string): boolean {
  const value = BOOLS[text.toLowerCase()];
  if (value === undefined) throw new Error(`${shown(text)} is neither true nor false`);
  return value;
}

function isWhole(text: string): boolean {
  return /^[+-]?\d+$/.test(text) || Number.isInteger(Number(text));
}

/** JSON has no plus in front, no zeros there, and no bare points. */
function asJson(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = ''] =
    /^([+-]?)(\d*)\.?(\d*)((?:[eE].+)?)$/.exec(text) ?? [];
  const point = fraction === '' ? '' : `.${fraction}`;
  return `${sign === '-' ? '-' : ''}${whole.replace(/^0+(?=\d)/, '') || '0'}${point}${exponent}`;
}

const SHOWN_LENGTH = 30;

function shown(text: string): string {
  if (text === '') return 'Nothing';
  return `“${text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}…` : text}”`;
}
