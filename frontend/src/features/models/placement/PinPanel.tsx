import { Stack, Switch } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { Panel } from '@/components/Panel';
import { api, call } from '@/lib/api/client';
import { type Model, modelQuery } from '@/lib/models';

/** Keeps a model loaded, used or not. */
export function PinPanel({ model }: { model: Model }): ReactElement {
  const pin = usePin(model.id);
  const shown = pin.isPending ? pin.variables : model.pinned;
  return (
    <Panel
      title="Pin"
      description="A model that nobody asks for leaves memory after a while, and its next caller waits for a load. A pinned one stays, and takes memory all the time."
    >
      <Stack>
        <Switch
          label="Keep it loaded, used or not"
          checked={shown}
          disabled={pin.isPending}
          onChange={(event) => pin.mutate(event.currentTarget.checked)}
        />
        {pin.error && <ErrorPanel error={pin.error} />}
      </Stack>
    </Panel>
  );
}

function usePin(modelId: string) {
  const queryClient = useQueryClient();
  return useMutation({
    mutationFn: (pinned: boolean) =>
      call(
        api.PUT('/v1/models/{model_id}/pinned', {
          params: { path: { model_id: modelId } },
          body: { pinned },
        }),
      ),
    onSuccess: async (changed) => {
      queryClient.setQueryData(modelQuery(modelId).queryKey, changed);
      void queryClient.invalidateQueries({ queryKey: ['models'] });
      await queryClient.invalidateQueries({ queryKey: ['model', modelId] });
    },
  });
}
