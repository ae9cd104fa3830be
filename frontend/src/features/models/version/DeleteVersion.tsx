import { Button, Text, Tooltip } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Confirm } from '@/components/Confirm';
import { api, call } from '@/lib/api/client';
import type { Model, Version } from '@/lib/models';

import { roleOf } from '../overview/versions';

const IN_USE = new Set(['active', 'quarantined', 'activating', 'candidate']);

/** Deletes a version that has no traffic. */
export function DeleteVersion({ model, version }: { model: Model; version: Version }): ReactElement {
  const [opened, { open, close }] = useDisclosure(false);
  const remove = useRemoval(model, version.number);
  const inUse = IN_USE.has(roleOf(version, model));
  return (
    <>
      <Tooltip label="It has traffic: give that to another version first." disabled={!inUse}>
        <Button
          variant="default"
          onClick={() => !inUse && open()}
          aria-disabled={inUse}
          mod={{ disabled: inUse }}
        >
          Delete this version
        </Button>
      </Tooltip>
      <Confirm
        opened={opened}
        title={`Delete version ${version.number} of ${model.name}?`}
        action="Delete it"
        pending={remove.isPending}
        error={remove.error}
        onConfirm={() => remove.mutate()}
        onClose={close}
      >
        <Text size="sm">
          It can never answer again, and a rollback cannot go to it. Its report goes with it. This cannot be
          undone.
        </Text>
      </Confirm>
    </>
  );
}

function useRemoval(model: Model, number: number) {
  const queryClient = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: () =>
      call(
        api.DELETE('/v1/models/{model_id}/versions/{number}', {
          params: { path: { model_id: model.id, number } },
        }),
      ),
    onSuccess: async () => {
      await navigate({ to: '/models/$modelId', params: { modelId: model.id } });
      queryClient.removeQueries({ queryKey: ['model', model.id, 'report', number] });
      await queryClient.invalidateQueries({ queryKey: ['model', model.id] });
      void queryClient.invalidateQueries({ queryKey: ['models'] });
      notifications.show({ message: `Version ${number} of ${model.name} is deleted.` });
    },
  });
}
