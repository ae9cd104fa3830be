import { describe, expect, it } from 'vitest';

import type { Model } from '@/lib/models';

import { askedByModel, listed } from './listing';

function model(name: string, uploaded: string, bytes: number): Model {
  const latest = {
    number: 1,
    state: 'ready',
    stage: null,
    reason: null,
    bytes,
    framework: '',
    created_at: uploaded,
  };
  return {
    id: `id-${name}`,
    name,
    active: 1,
    previous: null,
    activating: null,
    candidate: null,
    pinned: false,
    created_at: '2026-01-01T00:00:00Z',
    url: '',
    latest: latest as Model['latest'],
    hosts: 1,
    quarantined: null,
  };
}

const MODELS = [
  model('digits 10', '2026-01-02T00:00:00Z', 30),
  model('digits 9', '2026-01-03T00:00:00Z', 10),
  model('Spam', '2026-01-01T00:00:00Z', 20),
];
const ASKED = new Map([['id-Spam', { requests: 7, errors: 1 }]]);

describe('listed', () => {
  it.each([
    ['newest', ['digits 9', 'digits 10', 'Spam']],
    ['name', ['digits 9', 'digits 10', 'Spam']],
    ['requests', ['Spam', 'digits 9', 'digits 10']],
    ['errors', ['Spam', 'digits 9', 'digits 10']],
    ['size', ['digits 10', 'Spam', 'digits 9']],
  ] as const)('in the order %s', (order, names) => {
    expect(listed(MODELS, ASKED, { search: '', order }).map((one) => one.name)).toEqual(names);
  });

  it('finds parts of names whatever their case, and ids', () => {
    expect(listed(MODELS, ASKED, { search: ' SPA ', order: 'name' })).toHaveLength(1);
    expect(listed(MODELS, ASKED, { search: 'id-digits 9', order: 'name' })).toHaveLength(1);
  });
});

const MEASURED = {
  sums: { requests: 9, errors: { caller: 1, model: 2, platform: 3 } },
} as Parameters<typeof askedByModel>[0][number]['measured'];

it('adds up errors whoever is to blame', () => {
  expect(askedByModel([{ model_id: 'm', measured: MEASURED }], []).get('m')).toEqual({
    requests: 9,
    errors: 6,
  });
});

describe('a model that metrics do not tell of', () => {
  const silent = model('silent', '', 1);
  const told = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ model_id: String(index), measured: MEASURED }));

  it('was asked nothing', () => {
    expect(askedByModel(told(199), [silent]).get(silent.id)).toEqual({ requests: 0, errors: 0 });
  });

  it('may have been asked where they tell of the busiest only', () => {
    expect(askedByModel(told(200), [silent]).get(silent.id)).toBeUndefined();
  });
});
