import type { Schema } from '@/lib/api/client';

export type CostPart = keyof Schema['CostParts'];

/** In the order in which bars show them. */
export const COST_PARTS: readonly { part: CostPart; label: string; color: string }[] = [
  { part: 'requests', label: 'Requests', color: 'var(--mark)' },
  { part: 'compute', label: 'Compute', color: 'var(--mantine-color-teal-6)' },
  { part: 'memory', label: 'Memory', color: 'var(--mantine-color-orange-6)' },
  { part: 'storage', label: 'Storage', color: 'var(--mantine-color-grape-5)' },
];

const SMALL = 0.01;
const SMALLEST = 1e-4;

/** An amount with cents; a smaller one with the two digits that say something. */
export function money(amount: number, currency: string): string {
  const told = (value: number, digits: Intl.NumberFormatOptions = {}) =>
    new Intl.NumberFormat('en', { style: 'currency', currency, ...digits }).format(value);
  if (amount > 0 && amount < SMALLEST) return `< ${told(SMALLEST, { maximumSignificantDigits: 1 })}`;
  return told(amount, amount > 0 && amount < SMALL ? { maximumSignificantDigits: 2 } : {});
}

/** Each price as people say it. */
export function pricesOf(prices: Schema['Prices']): { what: string; price: string }[] {
  const per = (amount: number) =>
    new Intl.NumberFormat('en', {
      style: 'currency',
      currency: prices.currency,
      maximumFractionDigits: 10,
    }).format(amount);
  return [
    { what: 'A million requests through the API gateway', price: per(prices.gateway_requests_million) },
    { what: 'A million calls of the function behind it', price: per(prices.function_requests_million) },
    {
      what: `A second of that function, for each of its ${prices.function_gib} GiB`,
      price: per(prices.function_gib_second),
    },
    {
      what: `An hour of a host that runs ${prices.host_slots} models at a time and has ${prices.host_gib} GiB`,
      price: per(prices.host_hour),
    },
    { what: 'A GiB in the store for a month', price: per(prices.storage_gib_month) },
  ];
}
