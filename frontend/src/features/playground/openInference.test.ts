import { expect, it } from 'vitest';

import { isObject, type JsonObject, parseJson, writeJson } from '@/lib/json';

import { openRequest, openResult } from './openInference';

it('writes inputs with their types and shapes', () => {
  const inputs = object('{"ids":[[9007199254740993,2]],"text":["a"],"one":1.5}');
  const tensors = [
    { name: 'ids', dtype: 'int64', shape: [null, 2] },
    { name: 'text', dtype: 'string', shape: [null] },
    { name: 'one', dtype: 'float32', shape: [] },
  ];
  expect(openRequest(inputs, tensors)).toBe(
    '{"inputs":[{"name":"ids","datatype":"INT64","shape":[1,2],"data":[[9007199254740993,2]]},' +
      '{"name":"text","datatype":"BYTES","shape":[1],"data":["a"]},' +
      '{"name":"one","datatype":"FP32","shape":[],"data":[1.5]}]}',
  );
});

it('reads outputs as nested lists', () => {
  const answer = '{"outputs":[{"name":"y","datatype":"FP32","shape":[2,2],"data":[1,2.50,3,null]}]}';
  const result = openResult(parseJson(answer));
  expect(result && writeJson(result)).toBe('{"y":[[1,2.50],[3,null]]}');
  expect(openResult(parseJson('{"error":"no"}'))).toBeNull();
});

function object(text: string): JsonObject {
  const value = parseJson(text);
  if (!isObject(value)) throw new Error('an object was meant');
  return value;
}
