import { describe, expect, it } from 'vitest';

import { ApiError } from '@/lib/api/client';

import { closedUntil, fieldRefusals } from './refusals';

const FIELDS = ['email', 'password'];
const invalid = (message: string) => new ApiError(400, 'invalid_request', message);

describe('fieldRefusals', () => {
  it.each([
    ['password: at least 10 characters expected', { password: 'At least 10 characters expected.' }],
    [
      'password: it has your e-mail address in it. Take another one.',
      { password: 'It has your e-mail address in it. Take another one.' },
    ],
    ['Expected `str` of length <= 256 - at `$.password`', { password: 'Expected `str` of length <= 256.' }],
    ['name: too long', {}],
    ['The body is no JSON.', {}],
  ])('of %j', (message, expected) => {
    expect(fieldRefusals(invalid(message), FIELDS)).toEqual(expected);
  });

  it('leaves other errors to the whole form', () => {
    const conflict = new ApiError(409, 'conflict', 'email: this address has an account.');
    expect(fieldRefusals(conflict, FIELDS)).toEqual({});
    expect(fieldRefusals(new Error('email: gone'), FIELDS)).toEqual({});
    expect(fieldRefusals(null, FIELDS)).toEqual({});
  });
});

describe('closedUntil', () => {
  it('goes by Retry-After, from when it was said', () => {
    expect(closedUntil(new ApiError(429, 'rate_limited', 'Wait.', null, 12), 5_000)).toBe(17_000);
  });

  it.each([null, new ApiError(429, 'rate_limited', 'Wait.'), new ApiError(503, 'x', 'Wait.', null, 12)])(
    'is open after %s',
    (error) => {
      expect(closedUntil(error, 5_000)).toBeNull();
    },
  );
});
