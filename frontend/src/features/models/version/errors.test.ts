import { expect, it } from 'vitest';

import { formatError } from './errors';

it.each([
  [0, '0'],
  [7.62939453125e-6, '7.6e-6'],
  [0.1234, '0.12'],
  [12.34, '12'],
  [12345, '1.2e+4'],
  [Infinity, 'no number'],
])('%d → %s', (error, shown) => {
  expect(formatError(error)).toBe(shown);
});
