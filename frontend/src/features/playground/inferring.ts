import { api, ApiError, refusal } from '@/lib/api/client';
import type { Tensor } from '@/lib/examples';
import { isObject, type Json, type JsonObject, parseJson } from '@/lib/json';
import { requestText } from '@/lib/snippets/samples';

import { openRequest, openResult } from './openInference';
import type { ModelToken } from './token';

/** One request of the playground, from sending it to what came of it. */

export interface Answered {
  kind: 'answered';
  result: JsonObject;
  version: string;
  requestId: string;
  serverTiming: string;
  /** What the browser waited for the last try. */
  totalMs: number;
}

export interface Refused {
  kind: 'refused';
  error: ApiError;
  /** The input that is to blame, where it is one. */
  input: string | null;
}

export type Outcome = Answered | Refused;

/** A model that is not there yet: why, and when it is asked again. */
export interface Waiting {
  why: string;
  seconds: number;
}

/** What is asked. */
export interface Question {
  modelId: string;
  inputs: JsonObject;
  tensors: readonly Tensor[];
  /** This version and no other; null for whichever has its turn. */
  version: number | null;
}

interface Asked {
  question: Question;
  token: ModelToken;
  signal: AbortSignal;
  onWait: (waiting: Waiting | null) => void;
}

/** A model that is being loaded is asked again for so long. */
const PATIENCE_MS = 180_000;
const UNAVAILABLE = 503;
const UNAUTHENTICATED = 401;

/** Throws `ApiError` where no token is to be had, and what `signal` says where it is given up. */
export async function infer({ question, token, signal, onWait }: Asked): Promise<Outcome> {
  const ends = performance.now() + PATIENCE_MS;
  let mayRenew = true;
  for (;;) {
    const outcome = await sent(question, await token.get(), signal);
    onWait(null);
    if (outcome.kind === 'answered') return outcome;
    const { status, message, retryAfterSeconds } = outcome.error;
    if (status === UNAUTHENTICATED && mayRenew) {
      mayRenew = false;
      token.drop();
    } else if (status === UNAVAILABLE && retryAfterSeconds !== null && performance.now() < ends) {
      onWait({ why: message, seconds: retryAfterSeconds });
      await pause(retryAfterSeconds * 1000, signal);
    } else {
      return outcome;
    }
  }
}

async function sent(question: Question, token: string, signal: AbortSignal): Promise<Outcome> {
  const started = performance.now();
  const { data, error, response } = await posted(question, token, signal);
  const totalMs = performance.now() - started;
  if (!response.ok) return refused(response, error);
  const text = data ?? '';
  const result = resultIn(parseJson(text));
  if (!result) return tooLarge(response);
  return {
    kind: 'answered',
    result,
    version: response.headers.get('X-Model-Version') ?? '',
    requestId: response.headers.get('X-Request-Id') ?? '',
    serverTiming: response.headers.get('Server-Timing') ?? '',
    totalMs,
  };
}

/** Bodies are written here, so that numbers keep their digits. */
function posted({ modelId, inputs, tensors, version }: Question, token: string, signal: AbortSignal) {
  const options = {
    bodySerializer: (written: unknown) => written as string,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
    credentials: 'omit',
    parseAs: 'text',
    signal,
  } as const;
  if (version === null) {
    return api.POST('/inference', { ...options, body: requestText({ modelId, inputs }) as never });
  }
  return api.POST('/v2/models/{model_id}/versions/{number}/infer', {
    ...options,
    params: { path: { model_id: modelId, number: String(version) } },
    body: openRequest(inputs, tensors) as never,
  });
}

function resultIn(answer: Json): JsonObject | null {
  const result = isObject(answer) ? answer.get('result') : null;
  return isObject(result) ? result : openResult(answer);
}

function refused(response: Response, body: unknown): Refused {
  const told = toldIn(body);
  const input = typeof told.input === 'string' ? told.input : null;
  return { kind: 'refused', error: refusal(response, { error: told }), input };
}

/** Open Inference Protocol has the message where the others have an object. */
function toldIn(body: unknown): Record<string, unknown> {
  if (!isRecord(body)) return {};
  if (typeof body.error === 'string') return { ...body, message: body.error };
  return isRecord(body.error) ? body.error : {};
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** A very large answer is kept in the store, which this page may not read from. */
function tooLarge(response: Response): Refused {
  const why =
    'The answer is too large to be shown here. Ask with the Python client, which fetches it from the store.';
  const error = new ApiError(response.status, 'answer_too_large', why, response.headers.get('X-Request-Id'));
  return { kind: 'refused', error, input: null };
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
