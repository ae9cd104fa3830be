import { describe, expect, it } from 'vitest';

import { condition, silence, slotsInWords, totals } from './capacity';
import type { Host } from './queries';

const HOST: Host = {
  id: 'host-1',
  state: 'ready',
  heard_of: 'fresh',
  silent_seconds: 1,
  slots: 2,
  in_flight: 1,
  memory_bytes_max: 100,
  memory_bytes_used: 40,
  versions_assigned: 1,
  versions_ready: 1,
  leaving: false,
};

it('adds up the hosts that live', () => {
  const hosts: Host[] = [HOST, { ...HOST, heard_of: 'suspect' }, { ...HOST, heard_of: 'dead' }];
  expect(totals(hosts)).toEqual({ hosts: 2, memoryUsed: 80, memoryMax: 200, inFlight: 2, slots: 4 });
});

describe('condition', () => {
  it.each<[Partial<Host>, string]>([
    [{}, 'ready'],
    [{ leaving: true }, 'leaving'],
    [{ leaving: true, state: 'draining' }, 'draining'],
    [{ state: 'draining', heard_of: 'suspect' }, 'suspect'],
    [{ heard_of: 'dead', leaving: true }, 'dead'],
    [{ state: 'launching' }, 'launching'],
  ])('of %o is %s', (changed, word) => {
    expect(condition({ ...HOST, ...changed }).word).toBe(word);
  });
});

it.each([
  [0, 2, '0 of 2 slots busy'],
  [1, 1, '1 of 1 slot busy'],
  [3, 2, '2 of 2 slots busy, 1 request waits'],
  [9, 2.5, '2 of 2 slots busy, 7 requests wait'],
  [1, 0.5, '1 of 1 slot busy'],
])('%d requests on %d slots: %s', (inFlight, slots, said) => {
  expect(slotsInWords({ in_flight: inFlight, slots })).toBe(said);
});

it.each([
  [1.9, 'just now'],
  [12.4, '12 s ago'],
  [300, '5 minutes ago'],
])('%d s: %s', (seconds, said) => {
  expect(silence(seconds)).toBe(said);
});
