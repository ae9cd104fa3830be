import { Button, Group, Stack, TextInput } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { type ReactElement, type ReactNode, useState } from 'react';

import { Copy } from '@/components/Copy';
import { Panel } from '@/components/Panel';
import { api, call } from '@/lib/api/client';
import { formatTime } from '@/lib/format';
import { type Account, sessionQuery } from '@/lib/session';

import { FormError } from './FormError';
import classes from './ProfilePanel.module.css';
import { fieldRefusals } from './refusals';

const ROLES: Readonly<Record<Account['role'], string>> = {
  member: 'Member: your own models and keys',
  operator: 'Operator: also the fleet, all accounts and the platform’s log',
};

export function ProfilePanel({ account }: { account: Account }): ReactElement {
  return (
    <Panel title="Profile">
      <Stack gap="lg">
        <NameForm name={account.name} />
        <dl className={classes.facts}>
          <Fact term="E-mail address">{account.email || 'none: nobody logs in to this account'}</Fact>
          <Fact term="Role">{ROLES[account.role]}</Fact>
          <Fact term="Since">{formatTime(account.created_at)}</Fact>
          <Fact term="Account id">
            <Group gap="xs">
              <code className={classes.id}>{account.id}</code>
              <Copy text={account.id} what="the account id" />
            </Group>
          </Fact>
        </dl>
      </Stack>
    </Panel>
  );
}

function Fact({ term, children }: { term: string; children: ReactNode }): ReactElement {
  return (
    <div>
      <dt>{term}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function NameForm({ name }: { name: string }): ReactElement {
  const [typed, setTyped] = useState(name);
  const queryClient = useQueryClient();
  const rename = useMutation({
    mutationFn: () => call(api.PATCH('/v1/account', { body: { name: typed } })),
    onSuccess: async () => {
      await queryClient.invalidateQueries({ queryKey: sessionQuery.queryKey });
      notifications.show({ color: 'green', message: 'Your name is changed.' });
    },
  });
  const wrong = fieldRefusals(rename.error, ['name']);
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        rename.mutate();
      }}
    >
      <Stack gap="sm">
        <div className={classes.name}>
          <TextInput
            label="Name"
            autoComplete="name"
            maxLength={100}
            value={typed}
            error={wrong.name}
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
          <Button type="submit" variant="default" loading={rename.isPending} disabled={typed === name}>
            Save
          </Button>
        </div>
        {rename.error && !wrong.name && (
          <FormError error={rename.error} title="The name is as it was" refusedAt={rename.submittedAt} />
        )}
      </Stack>
    </form>
  );
}
