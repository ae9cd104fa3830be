import { describe, expect, it } from 'vitest';

import { inputOf, readResult } from './answer';

const PICTURE = Array.from({ length: 64 }, (_, index) => index % 17);
const LIKELIHOOD = [0, 0.01, 0, 0, 0.9, 0, 0, 0.09, 0, 0];

describe('inputOf', () => {
  it('is one row of 64 values from 0 to 1', () => {
    expect(inputOf(PICTURE, [null, 64])).toEqual([PICTURE.map((ink) => ink / 16)]);
  });

  it('has rows and columns where the model takes such', () => {
    const tensor = inputOf(PICTURE, [null, 1, 8, 8]) as number[][][][];
    expect(tensor[0]?.[0]?.[7]).toEqual(PICTURE.slice(56).map((ink) => ink / 16));
  });

  it.each([[[null, 4]], [[null, 3, 224, 224]], [[]], [[null, null]]])('is nothing for %j', (shape) => {
    expect(inputOf(PICTURE, shape)).toBeNull();
  });
});

describe('readResult', () => {
  it('goes by the likelihood, whatever it is called', () => {
    const result = { modelOutput: [7], scores: [LIKELIHOOD] };
    expect(readResult({ result })).toEqual({ digit: 4, likelihood: LIKELIHOOD, result });
  });

  it('makes do with the label', () => {
    expect(readResult({ result: { label: [3] } })).toMatchObject({ digit: 3, likelihood: null });
  });

  it.each([null, 'text', {}, { result: null }, { result: { x: [12] } }, { result: { x: ['seven'] } }])(
    'reads no digit out of %j',
    (body) => {
      expect(readResult(body)).toBeNull();
    },
  );
});
