import type { Schema } from '@/lib/api/client';

import { asked } from './listing';

const MINUTE_MS = 60_000;

export interface Minutes {
  requests: number[];
  errors: number[];
}

/** One number per minute from `since` to before `until`, the oldest first: points tell of busy minutes only. */
export function minutes({ since, until, points }: Schema['Metrics']): Minutes {
  const begin = Date.parse(since);
  const count = Math.max(0, Math.round((Date.parse(until) - begin) / MINUTE_MS));
  const shown: Minutes = { requests: zeros(count), errors: zeros(count) };
  for (const { at, measured } of points) {
    const index = Math.floor((Date.parse(at) - begin) / MINUTE_MS);
    if (index < 0 || index >= count) continue;
    const told = asked(measured.sums);
    shown.requests[index] = told.requests;
    shown.errors[index] = told.errors;
  }
  return shown;
}

function zeros(count: number): number[] {
  return Array<number>(count).fill(0);
}
