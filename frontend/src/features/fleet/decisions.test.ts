import { describe, expect, it } from 'vitest';

import { entries, modelsIn } from './decisions';
import type { Decision } from './queries';

const DIGITS = 'e80d16fb-45c9-473a-8468-3fa0398bb1bf';
const nothing = { host_id: null, versions: null, hosts: null, ending: null };

const decision: Decision = {
  number: 4,
  at: '2026-01-02T10:00:00Z',
  did: [
    { ...nothing, kind: 'assign', host_id: 'host-1', versions: 1 },
    { ...nothing, kind: 'forget', host_id: 'host-9' },
    { ...nothing, kind: 'capacity', hosts: 2, ending: ['host-3'] },
  ],
  reasons: [
    { about: 'fleet', name: null, text: '2 hosts: the floor is 2.' },
    { about: DIGITS, name: 'digits', text: 'Model digits gets a copy on host-1: it is new.' },
    { about: 'host-9', name: null, text: 'host-9 is dead.' },
  ],
};

describe('entries', () => {
  it('say what was done in words', () => {
    expect(entries([decision], { kind: 'all', model: '' })[0]?.did.map((line) => line.text)).toEqual([
      'host-1 is to hold 1 version',
      'host-9 is forgotten',
      '2 hosts wanted; host-3 may be stopped',
    ]);
  });

  it.each([
    ['capacity', '2 hosts wanted; host-3 may be stopped', '2 hosts: the floor is 2.'],
    ['placement', 'host-1 is to hold 1 version', 'Model digits gets a copy on host-1: it is new.'],
    ['hosts', 'host-9 is forgotten', 'host-9 is dead.'],
  ] as const)('of %s are those alone', (kind, did, why) => {
    const [one] = entries([decision], { kind, model: '' });
    expect([one?.did.map((line) => line.text), one?.why.map((line) => line.text)]).toEqual([[did], [why]]);
  });

  it('of a model say nothing else', () => {
    const [one] = entries([decision], { kind: 'all', model: DIGITS });
    expect(one?.did).toEqual([]);
    expect(one?.why.map((line) => line.model?.name)).toEqual(['digits']);
  });

  it('say of the fleet only what is new', () => {
    const fleet = (text: string): Decision => ({
      ...decision,
      did: [],
      reasons: [{ about: 'fleet', name: null, text }],
    });
    const told = entries([fleet('2 hosts.'), fleet('1 host.'), fleet('1 host.')], { kind: 'all', model: '' });
    expect(told.map((one) => one.why.map((line) => line.text))).toEqual([['2 hosts.'], ['1 host.']]);
  });

  it('leave out what has nothing to say', () => {
    expect(entries([{ ...decision, did: [], reasons: [] }], { kind: 'all', model: '' })).toEqual([]);
  });
});

it('lists the models that are spoken of, once', () => {
  expect(modelsIn([decision, decision])).toEqual([{ id: DIGITS, name: 'digits' }]);
});
