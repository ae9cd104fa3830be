import { shapeIn, type Tensor } from '@/lib/examples';
import { isList, isObject, type Json, type JsonObject, Numeral, writeJson } from '@/lib/json';

import { leavesOf, shaped } from './values';

/** Open Inference Protocol v2, in which one asks for one version. Pure. */

const DATATYPES: Readonly<Record<string, string>> = {
  bfloat16: 'BF16',
  bool: 'BOOL',
  float16: 'FP16',
  float32: 'FP32',
  float64: 'FP64',
  string: 'BYTES',
};

/** The body of a request with these inputs. */
export function openRequest(inputs: JsonObject, tensors: readonly Tensor[]): string {
  const dtypes = new Map(tensors.map(({ name, dtype }) => [name, dtype]));
  const written = [...inputs].map(([name, value]) => inputOf(name, value, dtypes.get(name) ?? 'float32'));
  return writeJson(new Map([['inputs', written]]));
}

/** Outputs by name, as nested lists; null where this is no answer. */
export function openResult(answer: Json): JsonObject | null {
  const outputs = isObject(answer) ? answer.get('outputs') : null;
  if (!isList(outputs)) return null;
  return new Map(outputs.filter(isObject).map((output) => [text(output.get('name')), valueOf(output)]));
}

function inputOf(name: string, value: Json, dtype: string): JsonObject {
  return new Map<string, Json>([
    ['name', name],
    ['datatype', DATATYPES[dtype] ?? dtype.toUpperCase()],
    ['shape', shapeIn(value).map((size) => new Numeral(String(size)))],
    ['data', isList(value) ? value : [value]],
  ]);
}

function valueOf(output: JsonObject): Json {
  const shape = leavesOf(output.get('shape') ?? []).map((size) =>
    size instanceof Numeral ? Number(size.text) : 0,
  );
  return shaped(leavesOf(output.get('data') ?? []), shape);
}

function text(value: Json | undefined): string {
  return typeof value === 'string' ? value : '';
}
