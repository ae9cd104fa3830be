import { expect, it } from 'vitest';

import { money, pricesOf } from './costs';

it.each([
  [0, '$0.00'],
  [0.00002, '< $0.0001'],
  [0.004617, '$0.0046'],
  [0.0199, '$0.02'],
  [1234.5, '$1,234.50'],
])('%s is told as %s', (amount, told) => {
  expect(money(amount, 'USD')).toBe(told);
});

it('speaks the currency of the prices, and shows small prices in full', () => {
  const prices = pricesOf({
    currency: 'EUR',
    source: '',
    as_of: '2026-06',
    gateway_requests_million: 3.5,
    function_requests_million: 0.2,
    function_gib_second: 0.0000166667,
    function_gib: 1,
    host_hour: 0.2016,
    host_slots: 4,
    host_gib: 16,
    storage_gib_month: 0.023,
  });
  expect(prices.map(({ price }) => price)).toEqual(['€3.50', '€0.20', '€0.0000166667', '€0.2016', '€0.023']);
});
