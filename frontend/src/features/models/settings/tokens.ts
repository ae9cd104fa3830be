import type { Schema } from '@/lib/api/client';

export type Token = Schema['Key'];

const WORKING = new Set<Schema['KeyState']>(['live', 'expiring', 'rotated']);

/** Those that still run the model. */
export function working(tokens: readonly Token[]): Token[] {
  return tokens.filter((token) => WORKING.has(token.state));
}
