import { describe, expect, it } from 'vitest';

import type { Key } from '@/lib/keys';

import { ALL, matching, mayRotate, WORKING, works } from './filters';
import { isPreset, presetsOf, scopesOf } from './scopes';
import { usesOf } from './uses';

const key = (part: Partial<Key>): Key => ({
  id: 'k1',
  kind: 'api_key',
  hint: 'mr_abc…',
  name: '',
  scopes: ['infer'],
  model_id: null,
  state: 'live',
  created_at: '2026-01-01T00:00:00Z',
  created_by: '',
  expires_at: null,
  requests_per_second: null,
  rotated_to: null,
  revoked_at: null,
  last_used_at: null,
  ...part,
});

describe('scopes', () => {
  it('offers nobody what they do not have', () => {
    const own = ['infer', 'keys', 'models:read', 'models:write'] as const;
    expect(scopesOf(own).map(({ scope }) => scope)).not.toContain('operate');
    expect(presetsOf(own).at(-1)?.scopes).toEqual(['infer', 'models:read', 'models:write', 'keys']);
  });

  it('knows a preset by its scopes, in any order', () => {
    const [deploy] = presetsOf(['infer', 'models:read', 'models:write', 'keys', 'operate']);
    expect(deploy && isPreset(deploy, ['models:write', 'infer', 'models:read'])).toBe(true);
    expect(deploy && isPreset(deploy, ['infer', 'models:read', 'keys'])).toBe(false);
  });
});

describe('which keys are shown', () => {
  const keys = [
    key({ id: 'live' }),
    key({ id: 'rotated', state: 'rotated', kind: 'model_token', model_id: 'm1' }),
    key({ id: 'revoked', state: 'revoked', kind: 'model_token', model_id: 'm2' }),
  ];
  it.each([
    ['all', ALL, ['live', 'rotated', 'revoked']],
    ['rotated ones still work', WORKING, ['live', 'rotated']],
    ['those that ended', { ...ALL, working: 'ended' as const }, ['revoked']],
    ['of one kind', { ...ALL, kind: 'api_key' as const }, ['live']],
    ['of one model', { ...ALL, modelId: 'm2' }, ['revoked']],
  ])('%s', (_claim, filters, shown) => {
    expect(matching(keys, filters).map(({ id }) => id)).toEqual(shown);
  });

  it.each([
    ['live', 'api_key', true, true],
    ['expiring', 'model_token', true, true],
    ['rotated', 'api_key', true, false],
    ['live', 'demo_token', true, false],
    ['expired', 'api_key', false, false],
    ['revoked', 'api_key', false, false],
  ] as const)('a %s %s works: %s, can be rotated: %s', (state, kind, itWorks, itRotates) => {
    expect([works(key({ state })), mayRotate(key({ state, kind }))]).toEqual([itWorks, itRotates]);
  });
});

describe('how a secret is used', () => {
  const uses = (part: Partial<Key>) => usesOf(key(part), 'mr_secret', 'https://rocket.example.com');

  it('is kept by Python for who may see models', () => {
    const [python, terminal, curl] = uses({ scopes: ['infer', 'models:read'] });
    expect(python?.code).toBe(
      'import modelrocket\nmodelrocket.remember("https://rocket.example.com", "mr_secret")',
    );
    expect(terminal?.code).toBe('modelrocket login https://rocket.example.com');
    expect(curl?.code).toContain('-H "Authorization: Bearer mr_secret"');
  });

  it('calls the one model of a token', () => {
    const [python, curl] = uses({ kind: 'model_token', model_id: 'm1' });
    expect(python?.code).toContain('.predict("m1", rows, token="mr_secret")');
    expect(curl?.code).toContain('https://rocket.example.com/v2/models/m1');
  });

  it.each([
    [['keys'], '/v1/keys'],
    [['models:write'], '/v1/keys/explain'],
  ] as const)('asks for what %s allow', (scopes, path) => {
    expect(uses({ scopes: [...scopes] })[0]?.code).toContain(path);
  });
});
