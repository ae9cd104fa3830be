import { describe, expect, it } from 'vitest';

import { isObject, Numeral, parseJson } from '@/lib/json';

import { outputsOf, ranked, type Shown } from './answers';
import { partsOf } from './timings';

describe('outputsOf', () => {
  it.each<[string, string, Shown]>([
    [
      'float32',
      '[[0.7,0.2,0.1],[0,1,0]]',
      {
        kind: 'probabilities',
        rows: [
          [0.7, 0.2, 0.1],
          [0, 1, 0],
        ],
      },
    ],
    ['float32', '[[0.7,0.2,0.4]]', { kind: 'table', rows: [['0.7', '0.2', '0.4']], columns: 3 }],
    ['float32', '[[1.2,-0.2]]', { kind: 'table', rows: [['1.2', '-0.2']], columns: 2 }],
    ['int64', '[[1,0]]', { kind: 'table', rows: [['1', '0']], columns: 2 }],
    ['int64', '[9007199254740993]', { kind: 'labels', rows: ['9007199254740993'] }],
    ['string', '[["spam"],["ham"]]', { kind: 'labels', rows: ['spam', 'ham'] }],
    ['bool', '[true]', { kind: 'labels', rows: ['true'] }],
    ['float32', '[[152.1],[null]]', { kind: 'numbers', rows: ['152.1', 'NaN'] }],
    ['float64', '1.5', { kind: 'numbers', rows: ['1.5'] }],
    ['float32', '[[[1,-2],[3,4]]]', { kind: 'tensor', shape: [1, 2, 2], range: { least: -2, most: 4 } }],
    ['string', '[[["a"]]]', { kind: 'tensor', shape: [1, 1, 1], range: null }],
    ['float32', '[]', { kind: 'table', rows: [], columns: 0 }],
  ])('%s %s', (dtype, json, shown) => {
    const result = parseJson(`{"y":${json}}`);
    if (!isObject(result)) throw new Error('an object was meant');
    expect(outputsOf(result, [{ name: 'y', dtype, shape: [] }])).toEqual([{ name: 'y', shown }]);
  });
});

it('shows answers of very many rows', () => {
  const result = new Map([['y', Array.from({ length: 200_000 }, () => [new Numeral('1')])]]);
  const [shown] = outputsOf(result, []);
  expect(shown?.shown).toMatchObject({ kind: 'numbers' });
});

it('ranks classes, the first of equals first', () => {
  expect(ranked([0.1, 0.4, 0.1, 0.4], 3).map(({ index }) => index)).toEqual([1, 3, 0]);
});

describe('partsOf', () => {
  it('adds up to what the browser waited', () => {
    const header =
      'auth;dur=0.500, route;dur=6.000, queue;dur=1.000, load;dur=0.000, batch;dur=0.250, run;dur=2.000';
    const parts = partsOf(header, 10);
    expect(parts.map(({ id, ms }) => [id, ms])).toEqual([
      ['network', 3.5],
      ['auth', 0.5],
      ['gateway', 2.75],
      ['queue', 1],
      ['batch', 0.25],
      ['run', 2],
    ]);
  });

  it('shows nothing where nothing is told', () => {
    expect(partsOf('', 10)).toEqual([]);
  });
});
