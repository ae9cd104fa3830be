import { describe, expect, it } from 'vitest';

import type { Verified } from './queries';
import { compared, verify } from './verifying';
import { LINE } from './sample';

const FOUND: Verified = { first: 1, last: 10, complete: true, broken_at: null, why: null, hash: 'h10' };

/** A log that tells of ten entries at a time. */
function steps(...answers: Verified[]) {
  const asked: number[] = [];
  const step = (after: number) => {
    asked.push(after);
    return Promise.resolve(answers[asked.length - 1] ?? FOUND);
  };
  return { asked, step };
}

describe('verify', () => {
  it('goes on to the end, and tells how far it is', async () => {
    const { asked, step } = steps(
      { ...FOUND, complete: false },
      { ...FOUND, first: 11, last: 20, complete: false },
      { ...FOUND, first: 21, last: 24, hash: 'h24' },
    );
    const seen: number[] = [];
    const result = await verify(step, ({ last }) => seen.push(last));
    expect(asked).toEqual([0, 10, 20]);
    expect(seen).toEqual([10, 20]);
    expect(result).toEqual({
      ok: true,
      text: 'Entries 1 to 24 are as written; none is missing between them.',
      kept: { number: 24, hash: 'h24' },
    });
  });

  it('stops where the log was changed, and says where', async () => {
    const broken = { ...FOUND, last: 6, complete: false, broken_at: 7, why: 'entry 7 is gone', hash: 'h6' };
    const { asked, step } = steps(broken);
    expect(await verify(step, () => undefined)).toEqual({
      ok: false,
      text: 'The log was changed at number 7: entry 7 is gone.',
      kept: { number: 6, hash: 'h6' },
    });
    expect(asked).toEqual([0]);
  });

  it('says so where there is nothing', async () => {
    const { step } = steps({ ...FOUND, first: 0, last: 0, hash: null });
    expect(await verify(step, () => undefined)).toEqual({
      ok: true,
      text: 'The log is empty: there is nothing to verify.',
      kept: null,
    });
  });

  it('says that the beginning is over its time', async () => {
    const { step } = steps({ ...FOUND, first: 5 });
    expect((await verify(step, () => undefined)).text).toBe(
      'Entries 5 to 10 are as written; none is missing between them. Those before are over their time.',
    );
  });

  it('ends with a step behind which there is nothing', async () => {
    const { step } = steps({ ...FOUND, complete: false }, { ...FOUND, first: 0, last: 0, hash: null });
    expect(await verify(step, () => undefined)).toMatchObject({
      ok: true,
      kept: { number: 10, hash: 'h10' },
    });
  });

  it('does not ask for ever', async () => {
    const { step } = steps({ ...FOUND, complete: false }, { ...FOUND, complete: false });
    await expect(verify(step, () => undefined)).rejects.toThrow('does not get on');
  });
});

describe('compared', () => {
  it.each([
    [3, ' AB ', LINE, true],
    [3, 'cd', LINE, false],
    [4, 'ab', LINE, false],
    [4, 'ab', undefined, false],
  ])('%d, %s', (number, hash, entry, ok) => {
    expect(compared(number, hash, entry).ok).toBe(ok);
  });
});
