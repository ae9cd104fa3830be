import { Button, Group, Modal, Stack, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { api, call, type Schema } from '@/lib/api/client';
import { useFocusBack } from '@/lib/useFocusBack';

import { FormError } from './FormError';
import { GivenPasswordField } from './GivenPasswordField';
import { HandedPassword } from './HandedPassword';
import { madeUpPassword } from './passwords';
import { accountsQuery } from './queries';
import { fieldRefusals } from './refusals';

interface Props {
  account: Schema['Account'];
  onClose: () => void;
}

export function GivePasswordDialog({ account, onClose }: Props): ReactElement {
  useFocusBack();
  const [password, setPassword] = useState(madeUpPassword);
  const queryClient = useQueryClient();
  const give = useMutation({
    mutationFn: (body: Schema['NewPassword']) =>
      call(
        api.POST('/v1/operator/accounts/{account_id}/password', {
          params: { path: { account_id: account.id } },
          body,
        }),
      ),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: accountsQuery.queryKey }),
    gcTime: 0, // it holds a password
  });
  const wrong = fieldRefusals(give.error, ['password']).password;
  return (
    <Modal opened onClose={onClose} title={`Another password for ${account.name || account.email}`}>
      {give.isSuccess ? (
        <HandedPassword email={account.email} password={give.variables.password} onClose={onClose} />
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            give.mutate({ password });
          }}
        >
          <Stack>
            <Text>All sessions of this account end. Its keys go on working.</Text>
            <GivenPasswordField value={password} error={wrong} onChange={setPassword} />
            {give.error && wrong === undefined && (
              <FormError error={give.error} title="The password is as it was" refusedAt={give.submittedAt} />
            )}
            <Group justify="flex-end">
              <Button variant="default" onClick={onClose}>
                Cancel
              </Button>
              <Button type="submit" loading={give.isPending}>
                Give it
              </Button>
            </Group>
          </Stack>
        </form>
      )}
    </Modal>
  );
}
