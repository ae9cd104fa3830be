import { ActionIcon, Badge, Group, Menu, Paper, Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { Scroll } from '@/components/Scroll';
import { StateBadge } from '@/components/StateBadge';
import type { Schema } from '@/lib/api/client';
import { useAccount } from '@/lib/session';

import type { Doing } from './AccountsPage';

type Account = Schema['Account'];

interface Props {
  accounts: readonly Account[];
  onDo: (doing: Doing) => void;
}

export function AccountsTable({ accounts, onDo }: Props): ReactElement {
  const own = useAccount();
  return (
    <Paper withBorder>
      <Scroll label="Accounts">
        <Table miw="40rem" verticalSpacing="sm" horizontalSpacing="md">
          <caption>
            <VisuallyHidden>Accounts of this deployment</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              {['Account', 'Role', 'State', 'Made'].map((head) => (
                <Table.Th key={head} scope="col">
                  {head}
                </Table.Th>
              ))}
              <Table.Th scope="col">
                <VisuallyHidden>Actions</VisuallyHidden>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {accounts.map((account) => (
              <Row key={account.id} account={account} own={account.id === own.id} onDo={onDo} />
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Paper>
  );
}

function Row({ account, own, onDo }: { account: Account; own: boolean; onDo: Props['onDo'] }): ReactElement {
  return (
    <Table.Tr>
      <Table.Th scope="row">
        <Group gap="xs">
          {account.name || account.email || account.id}
          {own && (
            <Badge variant="light" tt="none" miw="max-content">
              you
            </Badge>
          )}
        </Group>
        {(account.name || !account.email) && (
          <Text size="sm" c="dimmed">
            {account.email || 'nobody logs in to it'}
          </Text>
        )}
      </Table.Th>
      <Table.Td>{account.role}</Table.Td>
      <Table.Td>
        <State account={account} />
      </Table.Td>
      <Table.Td>
        <Ago at={account.created_at} />
      </Table.Td>
      <Table.Td ta="right">{!own && <Actions account={account} onDo={onDo} />}</Table.Td>
    </Table.Tr>
  );
}

function State({ account }: { account: Account }): ReactElement {
  if (account.suspended_at !== null) {
    return (
      <>
        <StateBadge state="suspended" />
        <Text size="xs" c="dimmed">
          <Ago at={account.suspended_at} />
        </Text>
      </>
    );
  }
  return (
    <>
      <StateBadge state="active" />
      {account.password_expired && (
        <Text size="xs" c="dimmed">
          has to choose a password
        </Text>
      )}
    </>
  );
}

function Actions({ account, onDo }: { account: Account; onDo: Props['onDo'] }): ReactElement {
  return (
    <Menu position="bottom-end" withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <ActionIcon variant="default" size="lg" aria-label={`Actions on ${account.name || account.email}`}>
          <svg width="16" height="16" viewBox="0 0 16 16" fill="currentColor" aria-hidden="true">
            <circle cx="3" cy="8" r="1.500" />
            <circle cx="8" cy="8" r="1.500" />
            <circle cx="13" cy="8" r="1.500" />
          </svg>
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {account.email && (
          <Menu.Item onClick={() => onDo({ what: 'password', account })}>Give another password</Menu.Item>
        )}
        <Menu.Item
          {...(account.suspended_at === null ? { c: 'var(--bad)' } : {})}
          onClick={() => onDo({ what: 'suspend', account })}
        >
          {account.suspended_at === null ? 'Suspend' : 'End the suspension'}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
