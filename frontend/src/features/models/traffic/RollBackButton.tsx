import { Button, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { type ReactElement, useState } from 'react';

import { Confirm } from '@/components/Confirm';
import type { Schema } from '@/lib/api/client';

import { useRollBack } from './mutations';
import { type WayBack, wayBack } from './rollback';

interface Props {
  modelId: string;
  traffic: Schema['Traffic'];
}

/** Back to what was before. What was asked for stays what is done, whatever changes meanwhile. */
export function RollBackButton({ modelId, traffic }: Props): ReactElement | null {
  const [opened, { open, close }] = useDisclosure(false);
  const [asked, setAsked] = useState<WayBack | null>(null);
  const rollBack = useRollBack(modelId);
  const way = wayBack(traffic);
  const ask = () => {
    setAsked(way);
    rollBack.reset();
    open();
  };
  const confirm = () => {
    if (!asked) return;
    rollBack.mutate(asked.request, {
      onSuccess: () => {
        close();
        notifications.show({ message: 'Rolled back.' });
      },
    });
  };
  return (
    <>
      {way && (
        <Button variant="default" onClick={ask}>
          {way.button}
        </Button>
      )}
      <Confirm
        opened={opened}
        title={asked?.button ?? ''}
        action={asked?.button ?? ''}
        pending={rollBack.isPending}
        error={rollBack.error}
        onConfirm={confirm}
        onClose={close}
      >
        <Text size="sm">{asked?.words}</Text>
      </Confirm>
    </>
  );
}
