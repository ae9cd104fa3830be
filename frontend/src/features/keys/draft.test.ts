import { describe, expect, it } from 'vitest';

import { bodyOf, DAY_MS, daysOf, type Draft, endOf, problemsOf } from './draft';

const NOW = new Date(2026, 0, 31, 23, 30).getTime(); // late in the evening, wherever this runs
const KEY: Draft = {
  kind: 'api_key',
  name: ' ci ',
  scopes: ['models:read'],
  modelId: null,
  expiry: null,
  date: '',
  rate: '',
};
const TOKEN: Draft = { ...KEY, kind: 'model_token', modelId: 'm1' };

describe('when it ends', () => {
  it.each([
    ['an API key usually after 90 days', KEY, 90],
    ['a model token usually never', TOKEN, null],
    ['as chosen, whatever is usual', { ...TOKEN, expiry: '7' as const }, 7],
    ['never where that is chosen', { ...KEY, expiry: 'never' as const }, null],
    [
      'tomorrow is one day on, also shortly before midnight',
      { ...KEY, expiry: 'date' as const, date: '2026-02-01' },
      1,
    ],
    ['over a change of the clock, too', { ...KEY, expiry: 'date' as const, date: '2026-07-31' }, 181],
  ])('%s', (_claim, draft, days) => {
    expect(daysOf(draft, NOW)).toBe(days);
  });

  it('is that many days from now, and not known without a date', () => {
    expect(endOf({ ...KEY, expiry: '7' }, NOW)).toBe(NOW + 7 * DAY_MS);
    expect(endOf({ ...KEY, expiry: 'date' }, NOW)).toBeNull();
  });
});

describe('what is wrong with it', () => {
  it.each([
    ['nothing', KEY, []],
    ['no scope', { ...KEY, scopes: [] }, ['scopes']],
    ['no model', { ...TOKEN, modelId: null }, ['modelId']],
    ['scopes do not matter to a token', { ...TOKEN, scopes: [] }, []],
    ['no date', { ...KEY, expiry: 'date' as const }, ['date']],
    ['today', { ...KEY, expiry: 'date' as const, date: '2026-01-31' }, ['date']],
    ['more than ten years', { ...KEY, expiry: 'date' as const, date: '2036-02-01' }, ['date']],
    ['no rate at all', { ...KEY, rate: 0 }, ['rate']],
    ['too high a rate', { ...KEY, rate: 1001 }, ['rate']],
  ])('%s', (_claim, draft, fields) => {
    expect(Object.keys(problemsOf(draft, NOW))).toEqual(fields);
  });
});

it('sends a key with its scopes, and a token with its model and nothing more', () => {
  expect(bodyOf({ ...KEY, rate: 20 }, NOW)).toEqual({
    name: 'ci',
    scopes: ['models:read'],
    model_id: null,
    expires_in_days: 90,
    expires_in_seconds: null,
    requests_per_second: 20,
  });
  expect(bodyOf({ ...TOKEN, expiry: '30' }, NOW)).toMatchObject({
    scopes: null,
    model_id: 'm1',
    expires_in_days: 30,
    requests_per_second: null,
  });
});
