import { describe, expect, it } from 'vitest';

import { madeUpPassword } from './passwords';

describe('madeUpPassword', () => {
  it('is of the random bytes, each letter as likely as the other', () => {
    const counts = new Map<string, number>();
    for (let byte = 0; byte < 256; byte += 1) {
      const letter = madeUpPassword(new Uint8Array(20).fill(byte)).charAt(0);
      counts.set(letter, (counts.get(letter) ?? 0) + 1);
    }
    expect(counts.size).toBe(32);
    expect(new Set(counts.values())).toEqual(new Set([8]));
  });

  it('is another one every time, long enough for every deployment', () => {
    const made = new Set(Array.from({ length: 50 }, () => madeUpPassword()));
    expect(made.size).toBe(50);
    made.forEach((password) => expect(password).toMatch(/^(?:[a-z2-9?]{5}-){3}[a-z2-9?]{5}$/));
  });
});
