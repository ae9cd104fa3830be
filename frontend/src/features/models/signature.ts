import type { Schema } from '@/lib/api/client';

/** What each value of a tensor is, for people. */
export function kindWords(dtype: string): string {
  if (dtype === 'bool') return 'True or false';
  if (dtype === 'string') return 'Text';
  if (/^u?int\d+$/.test(dtype)) return 'Whole numbers';
  if (dtype.startsWith('complex')) return 'Complex numbers';
  return 'Numbers';
}

/** `[null, 64]` → `any number of rows, each 64 values`. A first dimension that is free is the rows. */
export function shapeWords(shape: Schema['TensorSignature']['shape']): string {
  const [first, ...rest] = shape;
  if (first === undefined) return 'one value';
  if (first !== null) return `always ${sizes(shape)}`;
  return rest.length === 0 ? 'one value for each row' : `any number of rows, each ${sizes(rest)}`;
}

function sizes(shape: Schema['TensorSignature']['shape']): string {
  if (shape.length === 1) return shape[0] === 1 ? '1 value' : `${shape[0] ?? 'any number of'} values`;
  return shape.map((size) => size ?? 'any').join(' × ');
}
