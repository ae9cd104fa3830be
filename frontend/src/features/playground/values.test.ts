import { describe, expect, it } from 'vitest';

import { type Json, parseJson, writeJson } from '@/lib/json';

import { type Kind, leavesOf, leafText, misfit, readLeaf, shaped } from './values';

describe('readLeaf', () => {
  it.each<[string, Kind, string]>([
    ['1.50', 'float', '1.50'],
    ['+.5', 'float', '0.5'],
    ['-007.', 'float', '-7'],
    ['1E-3', 'float', '1E-3'],
    ['NaN', 'float', 'null'],
    [' n/a ', 'float', 'null'],
    ['9223372036854775807', 'integer', '9223372036854775807'],
    ['2.0', 'integer', '2.0'],
    ['TRUE', 'bool', 'true'],
    ['0', 'bool', 'false'],
    [' "as it is" ', 'text', '" \\"as it is\\" "'],
  ])('%s as %s is %s', (typed, kind, json) => {
    expect(writeJson(readLeaf(typed, kind))).toBe(json);
  });

  it.each<[string, Kind, string]>([
    ['', 'float', 'Nothing is not a number'],
    ['1,5', 'float', 'is not a number'],
    ['inf', 'float', 'is not a number'],
    ['0x10', 'integer', 'is not a number'],
    ['1.5', 'integer', 'is not a whole number'],
    ['nan', 'integer', 'is not a number'],
    ['maybe', 'bool', 'neither true nor false'],
  ])('refuses %j as %s: %s', (typed, kind, says) => {
    expect(() => readLeaf(typed, kind)).toThrow(says);
  });
});

describe('misfit', () => {
  const matrix = { name: 'x', dtype: 'float32', shape: [null, 2] };
  it.each<[string, string | null]>([
    ['[[1,2],[3,null]]', null],
    ['[]', null],
    ['[1,2]', '2 dimensions are expected, and this has 1.'],
    ['[[1,2],[3]]', 'not all of the same length'],
    ['[[1,2,3]]', 'Dimension 2 has 3 values, and 2 are expected.'],
    ['[[[1],[2]]]', 'and this has more'],
    ['[[1,"a"]]', '“a” is no float32'],
    ['{}', 'and this has 0'],
  ])('%s: %s', (text, says) => {
    const found = misfit(parseJson(text), matrix);
    if (says === null) expect(found).toBeNull();
    else expect(found).toContain(says);
  });

  it('tells the kinds of values apart', () => {
    const one = (dtype: string, text: string): string | null =>
      misfit(parseJson(text), { name: 'x', dtype, shape: [null] });
    expect(one('int64', '[9007199254740993, 1.0]')).toBeNull();
    expect(one('int64', '[1.5]')).toContain('no int64');
    expect(one('bool', '[1]')).toContain('no bool');
    expect(one('string', '["", "ü"]')).toBeNull();
  });
});

it('takes apart and puts together', () => {
  const value: Json = parseJson('[[[1,2,3],[4,5,6]]]');
  expect(leavesOf(value).map(leafText)).toEqual(['1', '2', '3', '4', '5', '6']);
  expect(shaped(leavesOf(value), [1, 2, 3])).toEqual(value);
  expect(writeJson(shaped([null], []))).toBe('null');
});
