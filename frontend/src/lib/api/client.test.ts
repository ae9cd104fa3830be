import { describe, expect, it } from 'vitest';

import { refusal } from './client';

describe('refusal', () => {
  it('says what the API said', () => {
    const body = {
      error: { code: 'rate_limited', message: 'Slow down.', retryable: true, request_id: 'r1' },
    };
    const response = new Response(null, { status: 429, headers: { 'Retry-After': '3' } });
    expect(refusal(response, body)).toMatchObject({
      status: 429,
      code: 'rate_limited',
      message: 'Slow down.',
      requestId: 'r1',
      retryAfterSeconds: 3,
    });
  });

  it.each([['<html>bad gateway</html>'], [undefined], [{ error: 'text' }], [null]])(
    'makes do with %j',
    (body) => {
      expect(refusal(new Response(null, { status: 502 }), body)).toMatchObject({
        status: 502,
        code: 'unknown',
        retryAfterSeconds: null,
      });
    },
  );
});
