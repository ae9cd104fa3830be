import { type Json, Numeral } from '@/lib/json';

import { extent, leavesOf, shaped } from './values';

/** Pictures as tensors and back: which shapes are pictures, what their numbers mean. Pure. */

/** RGBA, as a canvas has it. */
export interface Pixels {
  width: number;
  height: number;
  data: Uint8ClampedArray;
}

type Channels = 1 | 3 | 4;

/** How one picture lies in a row: channels first, channels last, one channel, or one line of numbers. */
export interface Layout {
  order: 'chw' | 'hwc' | 'hw' | 'flat';
  channels: Channels;
  height: number;
  width: number;
}

/** What black and white are: see `SCALES`. */
export type Scale = 'unit' | 'signed' | 'sixteen' | 'byte' | 'imagenet';

const SIDE_MIN = 8;
const CHANNELS: ReadonlySet<number> = new Set([1, 3, 4]);
const MEAN = [0.485, 0.456, 0.406] as const;
const DEVIATION = [0.229, 0.224, 0.225] as const;

/** value = (share of full brightness − mean) / deviation, for each channel. */
const SCALES: Readonly<Record<Scale, { mean: readonly number[]; deviation: readonly number[] }>> = {
  unit: { mean: [0], deviation: [1] },
  signed: { mean: [0.5], deviation: [0.5] },
  sixteen: { mean: [0], deviation: [1 / 16] },
  byte: { mean: [0], deviation: [1 / 255] },
  imagenet: { mean: MEAN, deviation: DEVIATION },
};

/** The ways to read a row's shape as a picture, the likeliest first; none where it is no picture. */
export function layoutsOf(shape: readonly number[]): Layout[] {
  const [first = 0, second = 0, third = 0] = shape;
  if (shape.length === 1) return flat(first);
  if (shape.length === 2) return gray(first, second);
  if (shape.length !== 3) return [];
  return [...coloured('chw', first, second, third), ...coloured('hwc', third, first, second)];
}

function flat(size: number): Layout[] {
  const side = Math.sqrt(size);
  return Number.isInteger(side) && side >= SIDE_MIN
    ? [{ order: 'flat', channels: 1, height: side, width: side }]
    : [];
}

function gray(height: number, width: number): Layout[] {
  return Math.min(height, width) >= SIDE_MIN ? [{ order: 'hw', channels: 1, height, width }] : [];
}

function coloured(order: 'chw' | 'hwc', channels: number, height: number, width: number): Layout[] {
  return isChannels(channels) && Math.min(height, width) > 1 ? [{ order, channels, height, width }] : [];
}

/** What the numbers of an example look like. Eight by eight is how scikit-learn has its digits: 0 to 16. */
export function guessedScale(example: Json, layout: Layout, dtype: string): Scale {
  const { least, most } = extent(numbersOf(example));
  if (dtype.includes('int')) return most > 0 && most <= 16 ? 'sixteen' : 'byte';
  if (most > 16) return 'byte';
  if (layout.width === SIDE_MIN && (most === 0 || most > 1)) return 'sixteen';
  return least < 0 ? signedScale(least, most, layout) : most <= 1 ? 'unit' : 'sixteen';
}

function signedScale(least: number, most: number, { channels }: Layout): Scale {
  return channels === 3 && Math.max(-least, most) > 1 ? 'imagenet' : 'signed';
}

/** A row from a picture of the layout's size. Brightness is that of ITU-R BT.601. */
export function toRow(pixels: Pixels, layout: Layout, scale: Scale, dtype: string): Json {
  const { channels, height, width } = layout;
  const planes = Array.from({ length: channels }, (_, channel) => {
    const { mean, deviation } = SCALES[scale];
    const [m, d] = [at(mean, channel), at(deviation, channel)];
    return Array.from({ length: height * width }, (_, index) =>
      numeral((brightness(pixels.data, index * 4, channel, channels) / 255 - m) / d, dtype),
    );
  });
  if (layout.order === 'hwc') {
    const mixed = Array.from({ length: height * width }, (_, index) =>
      planes.map((plane) => plane[index] ?? null),
    );
    return shaped(mixed.flat(), [height, width, channels]);
  }
  return shaped(planes.flat(), shapeOf(layout));
}

/** The picture that a row is: what the model sees. Numbers outside of the scale are cut off. */
export function toPixels(row: Json, layout: Layout, scale: Scale): Pixels {
  const { channels, height, width, order } = layout;
  const numbers = numbersOf(row);
  const data = new Uint8ClampedArray(width * height * 4).fill(255);
  const { mean, deviation } = SCALES[scale];
  for (let index = 0; index < width * height; index++) {
    for (let channel = 0; channel < Math.max(3, channels); channel++) {
      const from = Math.min(channel, channels - 1);
      const place = order === 'hwc' ? index * channels + from : from * width * height + index;
      data[index * 4 + channel] = ((numbers[place] ?? 0) * at(deviation, from) + at(mean, from)) * 255;
    }
  }
  return { width, height, data };
}

/** A picture of another size: each pixel is the mean of what it covers. */
export function resized(pixels: Pixels, width: number, height: number): Pixels {
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y++) {
    const [top, bottom] = covered(y, height, pixels.height);
    for (let x = 0; x < width; x++) {
      const [left, right] = covered(x, width, pixels.width);
      data.set(meanOf(pixels, left, right, top, bottom), (y * width + x) * 4);
    }
  }
  return { width, height, data };
}

export function inverted({ width, height, data }: Pixels): Pixels {
  return { width, height, data: data.map((value, index) => (index % 4 === 3 ? value : 255 - value)) };
}

function meanOf(pixels: Pixels, left: number, right: number, top: number, bottom: number): number[] {
  const sums = [0, 0, 0, 0];
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const place = (y * pixels.width + x) * 4;
      for (let part = 0; part < 4; part++) sums[part] = (sums[part] ?? 0) + (pixels.data[place + part] ?? 0);
    }
  }
  return sums.map((sum) => sum / ((right - left) * (bottom - top)));
}

/** The source's pixels under one of the target's; at least one. */
function covered(index: number, count: number, source: number): [number, number] {
  const first = Math.min(source - 1, Math.floor((index * source) / count));
  return [first, Math.max(first + 1, Math.floor(((index + 1) * source) / count))];
}

function brightness(data: Uint8ClampedArray, place: number, channel: number, channels: Channels): number {
  if (channels > 1) return data[place + channel] ?? 0;
  return 0.299 * (data[place] ?? 0) + 0.587 * (data[place + 1] ?? 0) + 0.114 * (data[place + 2] ?? 0);
}

function numeral(value: number, dtype: string): Numeral {
  const text = dtype.includes('int') ? String(Math.round(value)) : String(Number(value.toPrecision(6)));
  return new Numeral(text === '-0' ? '0' : text);
}

function shapeOf({ order, channels, height, width }: Layout): number[] {
  if (order === 'flat') return [height * width];
  return order === 'hw' ? [height, width] : [channels, height, width];
}

function numbersOf(value: Json): number[] {
  return leavesOf(value).map((leaf) => (leaf instanceof Numeral ? Number(leaf.text) : 0));
}

function at(values: readonly number[], channel: number): number {
  return values[channel] ?? values[0] ?? 0;
}

function isChannels(size: number): size is Channels {
  return CHANNELS.has(size);
}
