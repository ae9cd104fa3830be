import { useCallback, useEffect, useRef } from 'react';

import { api, call } from '@/lib/api/client';

const LIFE_SECONDS = 15 * 60;
/** One that ends this soon is not begun with. */
const MARGIN_MS = 60_000;

interface Held {
  id: string;
  secret: string;
  endsAt: number;
}

export interface ModelToken {
  /** Made at the first use, and then the same. Throws `ApiError`. */
  get: () => Promise<string>;
  /** It was refused: the next one is another. */
  drop: () => void;
}

/**
 * A token for one model, for as long as this page is looked at: `POST /inference` takes no session's cookie.
 * It may run this model only, is kept in memory, is revoked when the page is left and ends by itself soon after.
 */
export function useModelToken(modelId: string): ModelToken {
  const held = useRef<Promise<Held> | null>(null);
  useEffect(() => {
    const leave = () => {
      void held.current?.then(revoke).catch(() => undefined); // it ends by itself
      held.current = null;
    };
    window.addEventListener('pagehide', leave);
    return () => {
      window.removeEventListener('pagehide', leave);
      leave();
    };
  }, [modelId]);
  const get = useCallback(async () => {
    const known = await held.current?.catch(() => null);
    if (known && known.endsAt - MARGIN_MS > Date.now()) return known.secret;
    held.current = made(modelId);
    return (await held.current).secret;
  }, [modelId]);
  const drop = useCallback(() => {
    held.current = null;
  }, []);
  return { get, drop };
}

async function made(modelId: string): Promise<Held> {
  const body = {
    name: 'Playground',
    scopes: null,
    model_id: modelId,
    expires_in_seconds: LIFE_SECONDS,
    requests_per_second: null,
  };
  const { key, secret } = await call(api.POST('/v1/keys', { body }));
  return { id: key.id, secret, endsAt: Date.now() + LIFE_SECONDS * 1000 };
}

async function revoke({ id }: Held): Promise<void> {
  await api.DELETE('/v1/keys/{key_id}', { params: { path: { key_id: id } }, keepalive: true });
}
