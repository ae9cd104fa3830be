import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ApiError } from '@/lib/api/client';

import type { Answer } from './answer';
import { Digit } from './digit';
import { FULL, isBlank, type Picture } from './picture';

const ANSWER: Answer = {
  digit: 3,
  likelihood: null,
  version: '1',
  timings: [],
  totalMs: 4,
  result: {},
};
const SLOW_DOWN = new ApiError(429, 'rate_limited', 'Slow down.', null, 2);

let asked: { picture: Picture; signal: AbortSignal }[];
let refusals: Error[];
let digit: Digit;
let leave: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  [asked, refusals] = [[], []];
  digit = new Digit((picture, signal) => {
    asked.push({ picture, signal });
    const refused = refusals.shift();
    return refused ? Promise.reject(refused) : Promise.resolve(ANSWER);
  });
  leave = digit.subscribe(() => undefined);
});
afterEach(() => {
  vi.useRealTimers();
});

const settle = () => vi.advanceTimersByTimeAsync(0);

describe('Digit', () => {
  it('asks what is drawn, while it is drawn', async () => {
    digit.begin([0.5, 0.2]);
    await settle();
    digit.extend([[0.5, 0.5]]);
    digit.extend([[0.5, 0.8]]);
    await vi.advanceTimersByTimeAsync(200);
    expect(asked.map(({ picture }) => picture)).toHaveLength(2);
    expect(asked[1]?.picture).toEqual(digit.seen().drawing.picture);
    expect(digit.seen()).toMatchObject({ answer: ANSWER, pending: false, asked: asked[1]?.picture });
  });

  it('takes the pen resting in one place for nothing new', async () => {
    digit.begin([0.5, 0.2]);
    await settle();
    digit.extend([[0.501, 0.201]]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(asked).toHaveLength(1);
  });

  it('clears a sample for the first stroke, and no stroke for the next', () => {
    digit.sample(8);
    digit.begin([0.2, 0.2]);
    digit.extend([[0.2, 0.8]]);
    digit.begin([0.6, 0.2]);
    expect(digit.seen().drawing.strokes.map((stroke) => stroke[0])).toEqual([
      [0.2, 0.2],
      [0.6, 0.2],
    ]);
  });

  it('turns single cells, there and back', () => {
    digit.turn(9);
    expect(digit.seen().drawing.picture[9]).toBe(FULL);
    digit.turn(9);
    expect(isBlank(digit.seen().drawing.picture)).toBe(true);
  });

  it('forgets the answer with what was asked, and ends the request under way', async () => {
    digit.sample(3);
    await settle();
    digit.sample(4);
    await vi.advanceTimersByTimeAsync(200);
    digit.clear();
    expect(digit.seen()).toMatchObject({ answer: null, asked: null, pending: false, error: null });
    leave();
    expect(asked).toHaveLength(2);
  });

  it('asks once more when it was told to wait, and says so meanwhile', async () => {
    refusals.push(SLOW_DOWN);
    digit.sample(3);
    await vi.advanceTimersByTimeAsync(1999);
    expect(digit.seen()).toMatchObject({ pending: true, error: SLOW_DOWN });
    expect(asked).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(1);
    expect(asked).toHaveLength(2);
    expect(digit.seen()).toMatchObject({ answer: ANSWER, pending: false, error: null });
  });

  it('leaves what cannot be reached until somebody tries again', async () => {
    const unreachable = new ApiError(0, 'unreachable', 'The server cannot be reached.');
    refusals.push(unreachable);
    digit.sample(3);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(asked).toHaveLength(1);
    expect(digit.seen()).toMatchObject({ pending: false, error: unreachable });
    digit.again();
    await settle();
    expect(digit.seen()).toMatchObject({ answer: ANSWER, error: null });
  });

  it('gives up what is always refused', async () => {
    refusals = new Array<Error>(100).fill(SLOW_DOWN);
    digit.sample(3);
    await vi.advanceTimersByTimeAsync(1_000_000);
    expect(asked).toHaveLength(20);
    expect(digit.seen().pending).toBe(false);
  });

  it('stops when nobody looks', () => {
    digit.sample(3);
    leave();
    expect(asked[0]?.signal.aborted).toBe(true);
  });
});
