import { api, ApiError, refusal } from '@/lib/api/client';

import { type Answer, inputOf, readResult } from './answer';
import type { Picture } from './picture';
import type { Demo } from './snippets';
import { timingsOf } from './timings';

const TRIES = 20;
const AGAIN_SECONDS = 1;
const PASSING: readonly number[] = [429, 503];

/** What the demo model says of a picture. Throws `ApiError`, and what is thrown where `signal` ends it. */
export async function ask(demo: Demo, picture: Picture, signal: AbortSignal): Promise<Answer> {
  const began = performance.now();
  const body = {
    token: demo.token,
    model: demo.model_id,
    inputs: { [demo.input]: inputOf(picture, demo.shape) },
  };
  const { data, error, response } = await api.POST('/inference', { body: body as never, signal });
  const totalMs = performance.now() - began;
  if (!response.ok) throw refusal(response, error);
  const read = readResult(data);
  if (read === null) throw new Error('The answer is no digit: this model is for something else.');
  return {
    ...read,
    version: response.headers.get('X-Model-Version'),
    timings: timingsOf(response.headers.get('Server-Timing'), totalMs),
    totalMs,
  };
}

/** Milliseconds after which to ask once more; null where that would not help. */
export function againAfterMs(error: unknown, tries: number): number | null {
  if (!(error instanceof ApiError) || !PASSING.includes(error.status) || tries >= TRIES - 1) return null;
  return (error.retryAfterSeconds ?? AGAIN_SECONDS) * 1000;
}
