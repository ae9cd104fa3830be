import { describe, expect, it } from 'vitest';

import { type Json, parseJson, writeJson } from '@/lib/json';

import {
  guessedScale,
  inverted,
  type Layout,
  layoutsOf,
  type Pixels,
  resized,
  type Scale,
  toPixels,
  toRow,
} from './images';

const GRAY: Layout = { order: 'hw', channels: 1, height: 1, width: 2 };

describe('layoutsOf', () => {
  it.each<[number[], string[]]>([
    [[3, 224, 200], ['chw 3×224×200']],
    [[224, 200, 3], ['hwc 3×224×200']],
    [[1, 28, 28], ['chw 1×28×28']],
    [
      [4, 32, 3],
      ['chw 4×32×3', 'hwc 3×4×32'],
    ],
    [[28, 28], ['hw 1×28×28']],
    [[64], ['flat 1×8×8']],
    [[784], ['flat 1×28×28']],
    [[63], []],
    [[16], []],
    [[5, 28, 28], []],
    [[13, 3], []],
    [[], []],
  ])('%j', (shape, read) => {
    const shown = layoutsOf(shape).map((one) => `${one.order} ${one.channels}×${one.height}×${one.width}`);
    expect(shown).toEqual(read);
  });
});

describe('toRow', () => {
  const colours = pixels(2, 1, [255, 0, 0, 255], [0, 51, 255, 255]);
  it.each<[string, Layout, Scale, string, string]>([
    [
      'channels first',
      { order: 'chw', channels: 3, height: 1, width: 2 },
      'unit',
      'float32',
      '[[[1,0]],[[0,0.2]],[[0,1]]]',
    ],
    [
      'channels last',
      { order: 'hwc', channels: 3, height: 1, width: 2 },
      'byte',
      'uint8',
      '[[[255,0,0],[0,51,255]]]',
    ],
    [
      'transparency',
      { order: 'hwc', channels: 4, height: 1, width: 2 },
      'byte',
      'uint8',
      '[[[255,0,0,255],[0,51,255,255]]]',
    ],
    ['brightness', GRAY, 'unit', 'float32', '[[0.299,0.2314]]'],
    [
      'from minus one',
      { order: 'chw', channels: 3, height: 1, width: 2 },
      'signed',
      'float32',
      '[[[1,-1]],[[-1,-0.6]],[[-1,1]]]',
    ],
    [
      'ImageNet',
      { order: 'chw', channels: 3, height: 1, width: 2 },
      'imagenet',
      'float32',
      '[[[2.24891,-2.1179]],[[-2.03571,-1.14286]],[[-1.80444,2.64]]]',
    ],
  ])('%s', (_, layout, scale, dtype, json) => {
    expect(writeJson(toRow(colours, layout, scale, dtype))).toBe(json);
  });

  it('makes a line of a square', () => {
    const square = pixels(2, 2, white(), black(), black(), white());
    const layout: Layout = { order: 'flat', channels: 1, height: 2, width: 2 };
    expect(writeJson(toRow(square, layout, 'sixteen', 'float32'))).toBe('[16,0,0,16]');
    expect(writeJson(toRow(inverted(square), layout, 'sixteen', 'float32'))).toBe('[0,16,16,0]');
  });
});

it.each<[Layout['order'], Layout['channels'], Scale]>([
  ['chw', 3, 'imagenet'],
  ['hwc', 3, 'byte'],
  ['chw', 1, 'signed'],
  ['hwc', 4, 'unit'],
  ['flat', 1, 'sixteen'],
])('what a model sees in %s × %d, %s, is what was given', (order, channels, scale) => {
  const layout: Layout = { order, channels, height: 2, width: 2 };
  const given =
    channels === 1
      ? pixels(2, 2, white(), black(), gray(51), gray(204))
      : pixels(2, 2, [1, 2, 3, 255], [250, 40, 7, 255], white(), black());
  expect(toPixels(toRow(given, layout, scale, 'float32'), layout, scale)).toEqual(given);
});

describe('resized', () => {
  it('is the mean of what a pixel covers', () => {
    const given = pixels(4, 2, white(), black(), black(), black(), white(), black(), black(), black());
    expect(resized(given, 2, 1)).toEqual(pixels(2, 1, gray(128), black()));
  });

  it('repeats where there is too little, and skips nothing where it does not divide', () => {
    expect(resized(pixels(1, 1, gray(9)), 2, 3).data.filter((value) => value === 9)).toHaveLength(18);
    const three = resized(pixels(3, 1, white(), white(), white()), 2, 1);
    expect(three).toEqual(pixels(2, 1, white(), white()));
  });
});

describe('guessedScale', () => {
  const layout = (channels: 1 | 3, side: number): Layout => ({
    order: 'chw',
    channels,
    height: side,
    width: side,
  });
  it.each<[string, Layout, string, Scale]>([
    ['[0,0.5,1]', layout(3, 224), 'float32', 'unit'],
    ['[0,0,0]', layout(1, 28), 'float32', 'unit'],
    ['[0,0,0]', layout(1, 8), 'float32', 'sixteen'],
    ['[0,0.5,1]', layout(1, 8), 'float32', 'unit'],
    ['[0,7,255]', layout(3, 32), 'float32', 'byte'],
    ['[0,0]', layout(3, 32), 'uint8', 'byte'],
    ['[0,16]', layout(1, 8), 'int64', 'sixteen'],
    ['[-2.1,2.6]', layout(3, 224), 'float32', 'imagenet'],
    ['[-0.9,0.8]', layout(3, 224), 'float32', 'signed'],
  ])('%s', (example, of, dtype, scale) => {
    expect(guessedScale(parseJson(example) satisfies Json, of, dtype)).toBe(scale);
  });
});

function pixels(width: number, height: number, ...colours: number[][]): Pixels {
  return { width, height, data: Uint8ClampedArray.from(colours.flat()) };
}

function gray(value: number): number[] {
  return [value, value, value, 255];
}

function white(): number[] {
  return gray(255);
}

function black(): number[] {
  return gray(0);
}
