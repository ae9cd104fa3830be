import { Select, Stack } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { PageHeader } from '@/components/PageHeader';
import { useAccount } from '@/lib/session';

import { AuditLog } from './AuditLog';
import { type Account, accountsQuery, PLATFORM } from './queries';

/** For operators: the platform's own log, and any account's. */
export function PlatformAuditPage(): ReactElement {
  const [whose, setWhose] = useState(PLATFORM);
  const accounts = useQuery(accountsQuery);
  const own = useAccount();
  return (
    <>
      <PageHeader
        title="Platform log"
        description="What happened where no account was recognised, such as refused log-ins, and the log of every account."
      />
      <Stack>
        <Select
          label="Whose log"
          data={choices(accounts.data ?? [], own.id)}
          value={whose}
          onChange={(value) => setWhose(value ?? PLATFORM)}
          allowDeselect={false}
          error={
            accounts.failureReason && `The accounts are not known yet. ${accounts.failureReason.message}`
          }
          searchable
          w="24rem"
          maw="100%"
        />
        <AuditLog key={whose} account={whose} />
      </Stack>
    </>
  );
}

function choices(accounts: readonly Account[], ownId: string) {
  const named = accounts.map(({ id, email, name }) => ({
    value: id,
    label: `${email || name || id}${id === ownId ? ' (yours)' : ''}`,
  }));
  return [{ value: PLATFORM, label: 'The platform' }, ...named];
}
