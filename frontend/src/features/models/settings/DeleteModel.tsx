import { Button, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Confirm } from '@/components/Confirm';
import { Panel } from '@/components/Panel';
import { api, call } from '@/lib/api/client';
import { limitsQuery } from '@/lib/limits';
import { type Model, modelsQuery } from '@/lib/models';

import classes from './Settings.module.css';

const DAY_SECONDS = 86_400;

/** Deletes a model with all that belongs to it, after its name was typed. */
export function DeleteModel({ model }: { model: Model }): ReactElement {
  const [opened, { open, close }] = useDisclosure(false);
  const { data: limits } = useQuery(limitsQuery);
  const remove = useRemoval(model);
  const kept = limits ? keptWords(limits.retention_seconds) : 'for some days';
  return (
    <Panel title="Delete this model" description="With all its versions and tokens. This cannot be undone.">
      <Button variant="outline" color="red" c="var(--bad)" maw="100%" onClick={open}>
        Delete {model.name}
      </Button>
      <Confirm
        opened={opened}
        title={`Delete ${model.name}?`}
        action="Delete this model"
        typed={model.name}
        pending={remove.isPending}
        error={remove.error}
        onConfirm={() => remove.mutate()}
        onClose={close}
      >
        <Text size="sm">What happens:</Text>
        <ul className={classes.list}>
          <li>Requests under way are answered; from then on it answers nobody.</li>
          <li>All its versions and tokens are gone, and its name is free for another upload.</li>
          <li>The bytes are kept {kept}, then removed for good. They do not count against your quota.</li>
        </ul>
      </Confirm>
    </Panel>
  );
}

function keptWords(seconds: number): string {
  const days = Math.round(seconds / DAY_SECONDS);
  if (days < 1) return 'for less than a day';
  return days === 1 ? 'for a day' : `for ${days} days`;
}

function useRemoval(model: Model) {
  const queryClient = useQueryClient();
  const navigate = useNavigate();
  return useMutation({
    mutationFn: () => call(api.DELETE('/v1/models/{model_id}', { params: { path: { model_id: model.id } } })),
    onSuccess: async () => {
      queryClient.setQueryData(modelsQuery.queryKey, (models) =>
        models?.filter((one) => one.id !== model.id),
      );
      await navigate({ to: '/models' });
      queryClient.removeQueries({ queryKey: ['model', model.id] });
      void queryClient.invalidateQueries({ queryKey: ['models'] });
      notifications.show({ message: `${model.name} is deleted.` });
    },
  });
}
