import { Button, Text } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { PageHeader } from '@/components/PageHeader';
import { Waiting } from '@/components/Waiting';
import type { Schema } from '@/lib/api/client';

import { AccountsTable } from './AccountsTable';
import { GivePasswordDialog } from './GivePasswordDialog';
import { NewAccountDialog } from './NewAccountDialog';
import { accountsQuery } from './queries';
import { SuspendDialog } from './SuspendDialog';

export interface Doing {
  what: 'suspend' | 'password';
  account: Schema['Account'];
}

/** Who may use this deployment. For operators. */
export function AccountsPage(): ReactElement {
  const [making, setMaking] = useState(false);
  const [doing, setDoing] = useState<Doing | null>(null);
  const close = () => setDoing(null);
  return (
    <>
      <PageHeader
        title="Accounts"
        description="Who may use this deployment. Each account owns its models and keys."
        actions={<Button onClick={() => setMaking(true)}>New account</Button>}
      />
      <Accounts onDo={setDoing} />
      <NewAccountDialog opened={making} onClose={() => setMaking(false)} />
      {doing?.what === 'suspend' && <SuspendDialog account={doing.account} onClose={close} />}
      {doing?.what === 'password' && <GivePasswordDialog account={doing.account} onClose={close} />}
    </>
  );
}

function Accounts({ onDo }: { onDo: (doing: Doing) => void }): ReactElement {
  const accounts = useInfiniteQuery(accountsQuery);
  if (accounts.isPending) return <Waiting lines={5} />;
  if (accounts.data === undefined) {
    return <ErrorPanel error={accounts.error} onRetry={() => void accounts.refetch()} />;
  }
  const all = accounts.data.pages.flatMap((page) => page.accounts);
  return (
    <>
      <AccountsTable accounts={all} onDo={onDo} />
      {all.length === 1 && (
        <Text c="dimmed" mt="md">
          You are the only one so far. Make an account for each person: keys and the audit log then say who
          did what.
        </Text>
      )}
      {accounts.isFetchNextPageError && <ErrorPanel error={accounts.error} title="The rest did not come" />}
      {accounts.hasNextPage && (
        <Button
          mt="md"
          variant="default"
          loading={accounts.isFetchingNextPage}
          onClick={() => void accounts.fetchNextPage()}
        >
          Show more
        </Button>
      )}
    </>
  );
}
