import { Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Confirm } from '@/components/Confirm';
import { api, call, type Schema } from '@/lib/api/client';

import { accountsQuery } from './queries';

interface Props {
  account: Schema['Account'];
  onClose: () => void;
}

/** Takes an account's rights away, or gives them back. */
export function SuspendDialog({ account, onClose }: Props): ReactElement {
  const queryClient = useQueryClient();
  const suspended = account.suspended_at !== null;
  const who = account.name || account.email;
  const change = useMutation({
    mutationFn: () => (suspended ? unsuspend(account.id) : suspend(account.id)),
    onSuccess: async () => {
      onClose();
      notifications.show({ color: 'green', message: suspended ? `${who} is back.` : `${who} is suspended.` });
      await queryClient.invalidateQueries({ queryKey: accountsQuery.queryKey });
    },
  });
  return (
    <Confirm
      opened
      title={suspended ? `Let ${who} in again?` : `Suspend ${who}?`}
      action={suspended ? 'End the suspension' : 'Suspend'}
      pending={change.isPending}
      error={change.error}
      onConfirm={() => change.mutate()}
      onClose={onClose}
    >
      <Text>
        {suspended
          ? 'Its keys and tokens work again, its models answer again, and its people can log in.'
          : 'Within five seconds its keys, tokens and sessions are refused everywhere. Nothing of it is deleted, and you can end the suspension.'}
      </Text>
    </Confirm>
  );
}

function suspend(accountId: string): Promise<Schema['Account']> {
  const params = { path: { account_id: accountId } };
  return call(api.POST('/v1/operator/accounts/{account_id}/suspend', { params }));
}

function unsuspend(accountId: string): Promise<Schema['Account']> {
  const params = { path: { account_id: accountId } };
  return call(api.POST('/v1/operator/accounts/{account_id}/unsuspend', { params }));
}
