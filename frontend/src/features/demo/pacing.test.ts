import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { Pacer } from './pacing';

const INTERVAL_MS = 200;

interface Sent {
  item: string;
  at: number;
  tries: number;
  signal: AbortSignal;
  answer: (againMs: number | null) => Promise<void>;
}

let sent: Sent[];
let pacer: Pacer<string>;

beforeEach(() => {
  vi.useFakeTimers();
  const began = performance.now();
  sent = [];
  pacer = new Pacer<string>({
    intervalMs: INTERVAL_MS,
    send: (item, tries, signal) =>
      new Promise((resolve) => {
        const answer = async (againMs: number | null) => {
          resolve(againMs);
          await vi.advanceTimersByTimeAsync(0);
        };
        sent.push({ item, at: performance.now() - began, tries, signal, answer });
      }),
  });
});
afterEach(() => {
  vi.useRealTimers();
});

const items = () => sent.map(({ item }) => item);

describe('Pacer', () => {
  it('sends the first at once', () => {
    pacer.offer('a');
    expect(items()).toEqual(['a']);
  });

  it('has one under way at a time, and then sends the newest only', async () => {
    'abcd'.split('').forEach((item) => pacer.offer(item));
    await vi.advanceTimersByTimeAsync(5 * INTERVAL_MS);
    expect(items()).toEqual(['a']);
    await sent[0]?.answer(null);
    expect(items()).toEqual(['a', 'd']);
  });

  it('starts at most five in any second, however fast the answers are', async () => {
    for (let at = 0; at < 3000; at += 10) {
      pacer.offer(String(at));
      await sent.at(-1)?.answer(null);
      await vi.advanceTimersByTimeAsync(10);
    }
    const starts = sent.map(({ at }) => at);
    expect(starts.length).toBe(16);
    starts.forEach((at) =>
      expect(starts.filter((other) => other >= at && other < at + 1000).length).toBeLessThanOrEqual(5),
    );
  });

  it('sends what was refused once more after the time asked for', async () => {
    pacer.offer('a');
    await sent[0]?.answer(3000);
    await vi.advanceTimersByTimeAsync(2999);
    expect(items()).toEqual(['a']);
    await vi.advanceTimersByTimeAsync(1);
    expect(sent.map(({ item, tries }) => [item, tries])).toEqual([
      ['a', 0],
      ['a', 1],
    ]);
  });

  it('sends what is newer in its place, and not sooner', async () => {
    pacer.offer('a');
    await sent[0]?.answer(3000);
    pacer.offer('b');
    await vi.advanceTimersByTimeAsync(2999);
    expect(items()).toEqual(['a']);
    await vi.advanceTimersByTimeAsync(1);
    expect(items()).toEqual(['a', 'b']);
  });

  it('forgets what was refused when something newer is there already', async () => {
    pacer.offer('a');
    pacer.offer('b');
    await sent[0]?.answer(1000);
    await vi.advanceTimersByTimeAsync(1000);
    expect(sent.map(({ item, tries }) => [item, tries])).toEqual([
      ['a', 0],
      ['b', 0],
    ]);
  });

  it('waits for nothing once it is stopped, and begins again without being faster', async () => {
    pacer.offer('a');
    pacer.offer('b');
    pacer.stop();
    expect(sent[0]?.signal.aborted).toBe(true);
    pacer.offer('c');
    await vi.advanceTimersByTimeAsync(INTERVAL_MS - 1);
    expect(items()).toEqual(['a']);
    await vi.advanceTimersByTimeAsync(1);
    expect(items()).toEqual(['a', 'c']);
    await sent[0]?.answer(1000); // late: it changes nothing of what is under way
    expect(items()).toEqual(['a', 'c']);
  });
});
