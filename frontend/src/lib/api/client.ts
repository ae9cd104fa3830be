import createClient, { type Middleware } from 'openapi-fetch';

import type { components, paths } from './schema';

export type Schema = components['schemas'];

/** What the API refused, or that it could not be reached (status 0, code `unreachable`). */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly requestId: string | null = null,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
  }
}

const ownRequest: Middleware = {
  onRequest({ request }) {
    request.headers.set('X-Rocket-Request', '1');
  },
  onError() {
    return new ApiError(
      0,
      'unreachable',
      'The server cannot be reached. Check your connection, then try again.',
    );
  },
};

/** The API of this origin. The session's cookie goes along by itself; scripts never see it. */
export const api = createClient<paths>({ baseUrl: window.location.origin });
api.use(ownRequest);

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The body of an answer. Throws `ApiError`. */
export async function call<T>(answer: Promise<Answer<T>>): Promise<NonNullable<T>> {
  const { data, error, response } = await answer;
  if (!response.ok) throw refusal(response, error);
  return data as NonNullable<T>; // 204 has none, and nobody reads it
}

/** The error that an answer of 400 and above tells of, whatever its body. */
export function refusal(response: Response, body: unknown): ApiError {
  const told = isRecord(body) && isRecord(body.error) ? body.error : {};
  const retryAfter = Number(response.headers.get('Retry-After') ?? Number.NaN);
  return new ApiError(
    response.status,
    typeof told.code === 'string' ? told.code : 'unknown',
    typeof told.message === 'string' ? told.message : `The server answered ${response.status}.`,
    typeof told.request_id === 'string' ? told.request_id : response.headers.get('X-Request-Id'),
    Number.isFinite(retryAfter) ? retryAfter : null,
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
