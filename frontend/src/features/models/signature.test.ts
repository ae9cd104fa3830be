import { describe, expect, it } from 'vitest';

import { kindWords, shapeWords } from './signature';

describe('shapeWords', () => {
  it.each([
    [[], 'one value'],
    [[null], 'one value for each row'],
    [[null, 64], 'any number of rows, each 64 values'],
    [[null, 1], 'any number of rows, each 1 value'],
    [[null, null], 'any number of rows, each any number of values'],
    [[null, 3, null, 224], 'any number of rows, each 3 × any × 224'],
    [[1, 10], 'always 1 × 10'],
    [[4], 'always 4 values'],
  ])('%j → %s', (shape, words) => {
    expect(shapeWords(shape)).toBe(words);
  });
});

describe('kindWords', () => {
  it.each([
    ['float32', 'Numbers'],
    ['bfloat16', 'Numbers'],
    ['int64', 'Whole numbers'],
    ['uint8', 'Whole numbers'],
    ['string', 'Text'],
    ['bool', 'True or false'],
  ])('%s → %s', (dtype, words) => {
    expect(kindWords(dtype)).toBe(words);
  });
});
