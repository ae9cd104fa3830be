import { Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import type { ReactElement } from 'react';

import { Confirm } from '@/components/Confirm';
import { formatAgo } from '@/lib/format';
import { type Key, keyName } from '@/lib/keys';

import { kindLabel } from './filters';
import { useRevokeKey } from './mutations';

export function RevokeDialog({ keyInfo, onClose }: { keyInfo: Key; onClose: () => void }): ReactElement {
  const name = keyName(keyInfo);
  const revoke = useRevokeKey(keyInfo, {
    onDone: () => {
      notifications.show({ message: `${name} is revoked. It is refused everywhere within five seconds.` });
      onClose();
    },
  });
  return (
    <Confirm
      opened
      title={`Revoke ${name}?`}
      action="Revoke"
      pending={revoke.isPending}
      error={revoke.error}
      onConfirm={() => revoke.mutate()}
      onClose={onClose}
    >
      <Text>
        The {kindLabel(keyInfo.kind).replace(/^[MD]/, (first) => first.toLowerCase())}{' '}
        <strong>
          {keyInfo.name && `${keyInfo.name}, `}
          {keyInfo.hint}
        </strong>{' '}
        {keyInfo.last_used_at ? `was last used ${formatAgo(keyInfo.last_used_at)}.` : 'was never used.'}
      </Text>
      <Text mt="xs">
        Whatever still uses it is refused within five seconds. This cannot be undone. To change it without a
        gap, rotate it instead.
      </Text>
    </Confirm>
  );
}
