import { describe, expect, it } from 'vitest';

import { callable } from '@/lib/examples';
import { isObject, type JsonObject, parseJson, writeJson } from '@/lib/json';

import { type Editor, fieldsOf, fromRows, misnamed, rowShape, rowsOf, usable } from './forms';

type Given = [name: string, dtype: string, shape: (number | null)[], sizes: number[], example: string];

describe('fieldsOf', () => {
  it.each<[Given, Editor[]]>([
    [
      ['iris', 'float32', [null, 4], [1, 4], '[[1,2,3,4]]'],
      ['fields', 'table', 'json'],
    ],
    [
      ['a price', 'float64', [null], [1], '[1]'],
      ['fields', 'table', 'json'],
    ],
    [
      ['one number', 'int64', [], [], '3'],
      ['fields', 'json'],
    ],
    [
      ['texts', 'string', [null, 1], [1, 1], '[["hello"]]'],
      ['fields', 'table', 'json'],
    ],
    [
      ['wide', 'float32', [null, 300], [1, 300], zeros(300)],
      ['table', 'json'],
    ],
    [
      ['digits', 'float32', [null, 64], [1, 64], zeros(64, '-0.5')],
      ['image', 'table', 'json'],
    ],
    [
      ['an embedding', 'float32', [null, 256], [1, 256], zeros(256, '-0.5')],
      ['table', 'image', 'json'],
    ],
    [
      ['a picture of 16 × 16', 'float32', [null, 256], [1, 256], zeros(256)],
      ['image', 'table', 'json'],
    ],
    [
      ['a photo', 'float32', [null, 3, null, null], [1, 3, 32, 32], '[]'],
      ['image', 'json'],
    ],
    [
      ['a photo in a batch of one', 'uint8', [1, 32, 32, 3], [1, 32, 32, 3], '[]'],
      ['image', 'json'],
    ],
    [['three photos', 'uint8', [3, 32, 32, 3], [3, 32, 32, 3], '[]'], ['json']],
    [
      ['words', 'int64', [null, null], [1, 5], '[[1,2,3,4,5]]'],
      ['fields', 'table', 'json'],
    ],
    [['volumes', 'float32', [null, 9, 9, 9], [1, 9, 9, 9], '[]'], ['json']],
    [['flags', 'bool', [null, 1, 28, 28], [1, 1, 28, 28], '[]'], ['json']],
  ])('%j', (given, editors) => {
    expect(formOf(given)[0]?.editors).toEqual(editors);
  });
});

describe('usable', () => {
  const [field] = formOf(['x', 'float32', [null, 4], [1, 4], '[[1,2,3,4]]']);
  it.each<[string, Editor[]]>([
    ['[[1,2,3,4]]', ['fields', 'table', 'json']],
    ['[[1,2,3,4],[5,6,7,8]]', ['table', 'json']],
    ['[[1,2,3]]', ['json']],
  ])('%s', (value, editors) => {
    expect(field && usable(field, parseJson(value))).toEqual(editors);
  });
});

it('takes a row out of the shape', () => {
  const [free] = formOf(['x', 'float32', [null, 4], [1, 4], '[]']);
  const [fixed] = formOf(['x', 'float32', [4], [4], '[]']);
  expect([free && rowShape(free), fixed && rowShape(fixed)]).toEqual([[4], [4]]);
});

it('names the input that is missing or too many', () => {
  const form = formOf(['x', 'float32', [null], [1], '[1]']);
  expect(misnamed(form, object('{"x":[1]}'))).toBeNull();
  expect(misnamed(form, object('{}'))).toBe('The input “x” is missing.');
  expect(misnamed(form, object('{"x":[1],"y":1}'))).toBe('The model has no input “y”; it takes x.');
});

it.each<[string, (number | null)[]]>([
  ['[1,2]', [null]],
  ['[[1,2],[3,4]]', [null, 2]],
])('makes a table of %s and back', (json, shape) => {
  const tensor = { name: 'x', dtype: 'float32', shape };
  expect(writeJson(fromRows(rowsOf(parseJson(json)), tensor))).toBe(json);
});

function formOf([name, dtype, shape, sizes, example]: Given) {
  const signature = { inputs: [{ name, dtype, shape }], outputs: [] };
  const told = { signature, sizes: { [name]: sizes }, example: { source: 'sample', inputs: {} } };
  const text = JSON.stringify(told).replace('"inputs":{}', `"inputs":{${JSON.stringify(name)}:${example}}`);
  const found = callable(text);
  return found ? fieldsOf(found) : [];
}

function object(text: string): JsonObject {
  const value = parseJson(text);
  if (!isObject(value)) throw new Error('an object was meant');
  return value;
}

function zeros(count: number, first = '0'): string {
  return `[[${[first, ...Array<string>(count - 1).fill('0')].join(',')}]]`;
}
