import { useMutation, useQueryClient } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';
import { useAttempt } from '@/lib/attempt';
import type { Key } from '@/lib/keys';

/** A secret at the one moment it is known. It lives in the state of the page, nowhere else. */
export interface Issued {
  key: Key;
  secret: string;
  /** What it takes the place of, which works until it expires. */
  old: Key | null;
}

interface Handed {
  /** Is given the secret. Mutations return none, so that none is remembered beside the page. */
  onIssued: (issued: Issued) => void;
}

export function useCreateKey({ onIssued }: Handed) {
  const attempt = useAttempt();
  const refresh = useRefresh();
  return useMutation({
    mutationFn: async (body: Schema['NewKey']) => {
      const params = { header: { 'Idempotency-Key': attempt(body) } };
      onIssued({ ...(await call(api.POST('/v1/keys', { params, body }))), old: null });
    },
    onSuccess: refresh,
    gcTime: 0,
  });
}

export function useRotateKey(key: Key, { onIssued }: Handed) {
  const attempt = useAttempt();
  const refresh = useRefresh();
  return useMutation({
    mutationFn: async (overlapSeconds: number) => {
      const body = { overlap_seconds: overlapSeconds };
      const params = { path: { key_id: key.id }, header: { 'Idempotency-Key': attempt(body) } };
      onIssued(await call(api.POST('/v1/keys/{key_id}/rotate', { params, body })));
    },
    onSuccess: refresh,
    gcTime: 0,
  });
}

export function useRevokeKey(key: Key, { onDone }: { onDone: () => void }) {
  const refresh = useRefresh();
  return useMutation({
    mutationFn: () => call(api.DELETE('/v1/keys/{key_id}', { params: { path: { key_id: key.id } } })),
    onSuccess: async () => {
      onDone();
      await refresh();
    },
  });
}

function useRefresh(): () => Promise<void> {
  const queryClient = useQueryClient();
  return () => queryClient.invalidateQueries({ queryKey: ['keys'] });
}
