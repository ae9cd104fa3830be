import { FULL, type Picture } from './picture';
import type { Timing } from './timings';

export const DIGITS = 10;

/** What a request was answered with. `likelihood`: of each digit from 0 to 1; null where the model tells only which. */
export interface Answer {
  digit: number;
  likelihood: readonly number[] | null;
  version: string | null;
  timings: readonly Timing[];
  totalMs: number;
  /** The JSON of it. */
  result: unknown;
}

type Tensor = number | readonly Tensor[];

/** The values of a picture, from 0 to 1, in a tensor of this shape with one row; null where it takes no 8 × 8. */
export function inputOf(picture: Picture, shape: readonly (number | null)[]): Tensor | null {
  const sizes = shape.map((size) => size ?? 1);
  if (sizes.reduce((product, size) => product * size, 1) !== picture.length) return null;
  return nested(
    picture.map((ink) => ink / FULL),
    sizes,
  );
}

function nested(values: readonly number[], sizes: readonly number[]): Tensor {
  const [size, ...rest] = sizes;
  if (size === undefined) return values[0] ?? 0;
  const length = values.length / size;
  return Array.from({ length: size }, (_, index) =>
    nested(values.slice(index * length, (index + 1) * length), rest),
  );
}

/** The digit that an answer of /inference means, and how likely it holds each; null where it means none. */
export function readResult(body: unknown): Pick<Answer, 'digit' | 'likelihood' | 'result'> | null {
  const result = isRecord(body) ? body.result : null;
  if (!isRecord(result)) return null;
  const outputs = Object.values(result).map(flat);
  const likelihood = outputs.find(isLikelihood) ?? null;
  const digit = likelihood ? likelihood.indexOf(Math.max(...likelihood)) : outputs.find(isDigit)?.[0];
  return digit === undefined ? null : { digit, likelihood, result };
}

function flat(output: unknown): number[] {
  return Array.isArray(output) ? output.flat(4).filter((value) => typeof value === 'number') : [];
}

function isLikelihood(values: readonly number[]): boolean {
  return values.length === DIGITS && values.every((value) => value >= 0 && value <= 1 + 1e-6);
}

function isDigit(values: readonly number[]): boolean {
  const [value] = values;
  return (
    values.length === 1 && Number.isInteger(value) && value !== undefined && value >= 0 && value < DIGITS
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
