import { describe, expect, it } from 'vitest';

import { largestDifference, readReceipt } from './receipt';

const OUTPUT = {
  name: 'probabilities',
  dtype: 'float32',
  rows: 815,
  abs_error_max: 7.6e-6,
  rel_error_max: 2e-6,
  label_flips: 0,
  ties: 4,
};
const RECEIPT = {
  compared: true,
  rows: 883,
  kinds: [
    {
      kind: 'ordinary',
      judged: true,
      rows: 525,
      rows_refused: 0,
      outcome: 'agrees',
      refusal: '',
      evidence: '',
    },
    {
      kind: 'NaN',
      judged: false,
      rows: 0,
      rows_refused: 17,
      outcome: 'the original refuses',
      refusal: 'ValueError: Input X contains NaN.',
      evidence: '',
    },
  ],
  sample: null,
  tolerance: { relative: 0.001, absolute: 1e-5 },
  outputs: [OUTPUT, { ...OUTPUT, rel_error_max: 5e-6 }],
  outputs_left_out: 0,
  versions: { python: '3.11.7' },
  platform: 'Linux x86_64',
  notes: ['A note.'],
};

describe('readReceipt', () => {
  it('tells which rows were compared, and why some were not', () => {
    const { compared, notes } = readReceipt(RECEIPT) ?? {};
    expect(compared?.rows).toBe(883);
    expect(compared?.kinds.map(({ kind, judged, why }) => [kind, judged, why])).toEqual([
      ['ordinary', true, ''],
      ['NaN', false, '17 rows: ValueError: Input X contains NaN.'],
    ]);
    expect(compared?.differences).toEqual([]);
    expect(notes).toEqual(['A note.']);
  });

  it('tells what its owner let pass', () => {
    const differences = [
      { output: 'y', kind: 'sample', rows_differing: 88, rows: 540, what: 'it says 2', inputs: 'x = [1]' },
    ];
    const told = { ...RECEIPT, mismatch: { accepted: true, differences, differences_left_out: 3 } };
    const compared = readReceipt(told)?.compared;
    expect(compared?.differences[0]).toMatchObject({ differing: 88, what: 'it says 2' });
    expect(compared?.differencesLeftOut).toBe(3);
  });

  it('says why nothing was compared', () => {
    const told = { compared: false, reason: 'It was given as ONNX.', versions: {}, notes: [] };
    expect(readReceipt(told)).toMatchObject({ compared: null, reason: 'It was given as ONNX.' });
  });

  it.each([null, 'text', [], { compared: true }, { ...RECEIPT, rows: '883' }, { ...RECEIPT, kinds: [1] }])(
    'takes nothing for granted: %j',
    (told) => {
      expect(readReceipt(told)).toBeNull();
    },
  );
});

it('reads an error without bounds, which JSON has no number for', () => {
  const told = { ...RECEIPT, outputs: [{ ...OUTPUT, rel_error_max: null }] };
  expect(readReceipt(told)?.compared?.outputs[0]?.relative).toBe(Infinity);
});

it('finds the largest difference of all outputs', () => {
  const compared = readReceipt(RECEIPT)?.compared;
  expect(compared && largestDifference(compared)).toBe(5e-6);
});
