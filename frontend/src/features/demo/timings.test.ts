import { describe, expect, it } from 'vitest';

import { parseServerTiming, timingsOf } from './timings';

const TOLD = 'auth;dur=0.5, route;dur=3.1, queue;dur=0.1, load;dur=0.000, batch;dur=0.5, run;dur=0.3';

describe('parseServerTiming', () => {
  it('reads names and milliseconds', () => {
    expect([...parseServerTiming('auth;dur=0.574, run;desc="x";dur=12')]).toEqual([
      ['auth', 0.574],
      ['run', 12],
    ]);
  });

  it.each(['', 'run', 'run;dur=', 'run;dur=-1', 'run;dur=soon', ';dur=3'])('leaves out %j', (header) => {
    expect(parseServerTiming(header).get('run') ?? 0).toBe(0);
  });
});

describe('timingsOf', () => {
  it('takes the host out of the gateway, and both out of the way', () => {
    const parts = Object.fromEntries(
      timingsOf(TOLD, 10).map(({ name, ms }) => [name, Number(ms.toFixed(6))]),
    );
    expect(parts).toEqual({ 'network and browser': 6.4, gateway: 2.7, queue: 0.6, run: 0.3 });
  });

  it.each([
    [TOLD, 10],
    [TOLD.replace('load;dur=0.000', 'load;dur=2.000'), 25],
    [null, 4],
    ['auth;dur=0.2, forward;dur=2, queue;dur=0.1, load;dur=0, batch;dur=0, run;dur=1', 4],
    ['auth;dur=0.2, queue;dur=0.1, load;dur=0, batch;dur=0, run;dur=1', 4], // a host's own door
  ])('of %j adds up to all of the time', (header, totalMs) => {
    const sum = timingsOf(header, totalMs).reduce((all, { ms }) => all + ms, 0);
    expect(sum).toBeCloseTo(totalMs);
  });

  it('has no part below nothing, whatever the clocks say', () => {
    expect(timingsOf(TOLD, 1).every(({ ms }) => ms >= 0)).toBe(true);
  });

  it('shows loading only where there was one', () => {
    expect(timingsOf(TOLD, 10).some(({ name }) => name === 'load')).toBe(false);
  });
});
