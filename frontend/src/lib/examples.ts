import { queryOptions } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';
import { isList, isObject, type Json, type JsonObject, Numeral, parseJson } from '@/lib/json';

export type Tensor = Schema['TensorSignature'];
export type Signature = Schema['Signature'];

/** A version as one calls it. */
export interface Callable {
  signature: Signature;
  /** The shape of each input, by name, with a size wherever any may go. */
  shapes: ReadonlyMap<string, readonly number[]>;
  /** Inputs that it answers, by name. */
  inputs: JsonObject;
  /** `made up`: zeros and empty texts that were not tried. */
  source: Schema['ExampleSource'] | 'made up';
}

/** null where the version has no signature yet. The report is read by ourselves: its numbers keep their digits. */
export const exampleQuery = (modelId: string, number: number) =>
  queryOptions({
    queryKey: ['model', modelId, 'example', number],
    queryFn: async () => {
      const params = { path: { model_id: modelId, number } };
      const text = await call(
        api.GET('/v1/models/{model_id}/versions/{number}/report', { params, parseAs: 'text' }),
      );
      return callable(text);
    },
    staleTime: 60_000,
  });

/** From the text of a report. */
export function callable(text: string): Callable | null {
  const report = JSON.parse(text) as Schema['Report'];
  if (!report.signature) return null;
  const shapes = new Map(
    report.signature.inputs.map((one) => [one.name, shapeOf(one, report.sizes[one.name])]),
  );
  const told = parseJson(text);
  const example = isObject(told) ? told.get('example') : null;
  const inputs = isObject(example) ? example.get('inputs') : null;
  if (report.example && isObject(inputs)) {
    return { signature: report.signature, shapes, inputs, source: report.example.source };
  }
  const madeUp = report.signature.inputs.map(
    (one) => [one.name, zeros(one, shapes.get(one.name) ?? [])] as const,
  );
  return { signature: report.signature, shapes, inputs: new Map(madeUp), source: 'made up' };
}

function shapeOf(input: Tensor, sizes: readonly number[] | undefined): readonly number[] {
  return sizes?.length === input.shape.length ? sizes : input.shape.map((size) => size ?? 1);
}

function zeros(input: Tensor, shape: readonly number[]): Json {
  const [size, ...rest] = shape;
  if (size !== undefined) return Array.from({ length: size }, () => zeros(input, rest));
  if (input.dtype === 'string') return '';
  return input.dtype === 'bool' ? false : new Numeral('0');
}

/** The shape of nested lists, following the first of each. */
export function shapeIn(value: Json): number[] {
  return isList(value) ? [value.length, ...(value[0] === undefined ? [] : shapeIn(value[0]))] : [];
}
