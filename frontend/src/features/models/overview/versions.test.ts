import { describe, expect, it } from 'vitest';

import type { Model, Version } from '@/lib/models';

import { bytesOf, roleOf, spokesman } from './versions';

function version(number: number, told: Partial<Version> = {}): Version {
  const signature = { inputs: [], outputs: [] };
  return { number, state: 'ready', signature, active: false, activating: false, ...told } as Version;
}

const MODEL = { active: 1, candidate: null, quarantined: null } as unknown as Model;

describe('spokesman', () => {
  it('is the active version', () => {
    expect(spokesman([version(1), version(2)], MODEL)?.number).toBe(1);
  });

  it('else the newest whose signature is known', () => {
    const versions = [version(1), version(2), version(3, { signature: null })];
    expect(spokesman(versions, { ...MODEL, active: null })?.number).toBe(2);
  });

  it('is nobody before anything is known', () => {
    expect(spokesman([version(1, { signature: null })], MODEL)).toBeNull();
  });
});

describe('roleOf', () => {
  it.each([
    [version(1, { active: true }), MODEL, 'active'],
    [version(1, { active: true }), { ...MODEL, quarantined: true }, 'quarantined'],
    [version(2, { activating: true }), MODEL, 'activating'],
    [version(2), { ...MODEL, candidate: { version: 2 } as Model['candidate'] }, 'candidate'],
    [version(2), MODEL, 'ready'],
    [version(2, { state: 'failed' }), MODEL, 'failed'],
  ])('case %#', (shown, model, role) => {
    expect(roleOf(shown, model)).toBe(role);
  });
});

it('counts the weights beside the graph', () => {
  expect(bytesOf(version(1, { bytes: 1, weights: { bytes: 2, sha256: '' } }))).toBe(3);
});
