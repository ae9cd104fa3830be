import { Button, Group, Modal, Stack, TextInput } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { api, call, type Schema } from '@/lib/api/client';

import { FormError } from './FormError';
import { GivenPasswordField } from './GivenPasswordField';
import { HandedPassword } from './HandedPassword';
import { madeUpPassword } from './passwords';
import { accountsQuery } from './queries';
import { fieldRefusals } from './refusals';

interface Props {
  opened: boolean;
  onClose: () => void;
}

export function NewAccountDialog({ opened, onClose }: Props): ReactElement {
  return (
    <Modal opened={opened} onClose={onClose} title="New account">
      <Form onClose={onClose} />
    </Modal>
  );
}

function Form({ onClose }: { onClose: () => void }): ReactElement {
  const [name, setName] = useState('');
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState(madeUpPassword);
  const queryClient = useQueryClient();
  const make = useMutation({
    mutationFn: (body: Schema['SignUp']) => call(api.POST('/v1/operator/accounts', { body })),
    onSuccess: () => queryClient.invalidateQueries({ queryKey: accountsQuery.queryKey }),
    gcTime: 0, // it holds a password
  });
  const wrong = fieldRefusals(make.error, ['name', 'email', 'password']);
  if (make.isSuccess) {
    return <HandedPassword email={make.data.email} password={make.variables.password} onClose={onClose} />;
  }
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        make.mutate({ name, email, password });
      }}
    >
      <Stack>
        <TextInput
          label="E-mail address"
          type="email"
          autoComplete="off"
          required
          data-autofocus
          value={email}
          error={wrong.email}
          onChange={(event) => setEmail(event.currentTarget.value)}
        />
        <TextInput
          label="Name"
          autoComplete="off"
          maxLength={100}
          value={name}
          error={wrong.name}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <GivenPasswordField value={password} error={wrong.password} onChange={setPassword} />
        {make.error && Object.keys(wrong).length === 0 && (
          <FormError error={make.error} title="No account was made" refusedAt={make.submittedAt} />
        )}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={make.isPending}>
            Make the account
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
