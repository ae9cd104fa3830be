import { useMutation, useQueryClient } from '@tanstack/react-query';

import { api, call, type Schema } from '@/lib/api/client';

/** Activates, tries, or ends a trial. */
export function useChangeTraffic(modelId: string) {
  const settle = useSettle(modelId);
  return useMutation({
    mutationFn: (body: Schema['ChangeTraffic']) =>
      call(api.PUT('/v1/models/{model_id}/traffic', { params: { path: { model_id: modelId } }, body })),
    onSuccess: settle,
  });
}

export function useRollBack(modelId: string) {
  const settle = useSettle(modelId);
  return useMutation({
    mutationFn: (body: Schema['RollBack']) =>
      call(api.POST('/v1/models/{model_id}/rollback', { params: { path: { model_id: modelId } }, body })),
    onSuccess: settle,
  });
}

/** Whatever is shown of the model is asked for again; it is done once that is there. */
function useSettle(modelId: string) {
  const queryClient = useQueryClient();
  return async () => {
    void queryClient.invalidateQueries({ queryKey: ['models'] });
    await queryClient.invalidateQueries({ queryKey: ['model', modelId] });
  };
}
