import { useMutation, useQueryClient } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';
import { useAttempt } from '@/lib/attempt';

/** Makes a token; its secret is in the answer and nowhere else. */
export function useNewToken(modelId: string) {
  const attempt = useAttempt();
  const settle = useSettle(modelId);
  return useMutation({
    mutationFn: (body: Schema['NewToken']) =>
      call(
        api.POST('/v1/models/{model_id}/tokens', {
          params: { path: { model_id: modelId }, header: { 'Idempotency-Key': attempt(body) } },
          body,
        }),
      ),
    onSuccess: settle,
    gcTime: 0,
  });
}

export function useRevokeToken(modelId: string) {
  const settle = useSettle(modelId);
  return useMutation({
    mutationFn: (keyId: string) =>
      call(api.DELETE('/v1/keys/{key_id}', { params: { path: { key_id: keyId } } })),
    onSuccess: settle,
  });
}

function useSettle(modelId: string) {
  const queryClient = useQueryClient();
  return async () => {
    void queryClient.invalidateQueries({ queryKey: ['keys'] });
    await queryClient.invalidateQueries({ queryKey: ['model', modelId, 'tokens'] });
  };
}
