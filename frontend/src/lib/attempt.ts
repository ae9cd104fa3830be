import { useCallback, useRef } from 'react';

const BYTES = 16;

/**
 * Idempotency-Keys for one dialog: asked twice with the same request, the same key, so that a click that is
 * repeated because the answer got lost does the thing once. Another request, another key.
 */
export function useAttempt(): (request: unknown) => string {
  const last = useRef({ request: '', key: '' });
  return useCallback((request: unknown) => {
    const text = JSON.stringify(request);
    if (last.current.request !== text) last.current = { request: text, key: randomHex() };
    return last.current.key;
  }, []);
}

/** crypto.randomUUID is missing where a page is not served over https. */
function randomHex(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
