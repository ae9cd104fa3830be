import { Button, Table, Text, VisuallyHidden } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { type ReactElement, useState } from 'react';

import { Ago } from '@/components/Ago';
import { Confirm } from '@/components/Confirm';
import { Scroll } from '@/components/Scroll';
import { StateBadge } from '@/components/StateBadge';
import { keyName } from '@/lib/keys';

import { useRevokeToken } from './mutations';
import type { Token } from './tokens';

interface Props {
  modelId: string;
  tokens: readonly Token[];
}

export function TokensTable({ modelId, tokens }: Props): ReactElement {
  const [asked, setAsked] = useState<Token | null>(null);
  const revoke = useRevokeToken(modelId);
  const confirm = () => {
    if (!asked) return;
    revoke.mutate(asked.id, {
      onSuccess: () => {
        setAsked(null);
        notifications.show({
          message: `${keyName(asked)} is revoked. It is refused everywhere within five seconds.`,
        });
      },
    });
  };
  return (
    <>
      <Scroll label="Table of tokens">
        <Table verticalSpacing="xs" miw="36rem">
          <caption>
            <VisuallyHidden>Tokens of this model that work</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Token</Table.Th>
              <Table.Th scope="col">State</Table.Th>
              <Table.Th scope="col">Made</Table.Th>
              <Table.Th scope="col">Last used</Table.Th>
              <Table.Th scope="col">
                <VisuallyHidden>What to do with it</VisuallyHidden>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {tokens.map((token) => (
              <Row
                key={token.id}
                token={token}
                onRevoke={() => {
                  revoke.reset();
                  setAsked(token);
                }}
              />
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
      <Confirm
        opened={asked !== null}
        title={`Revoke ${asked ? keyName(asked) : ''}?`}
        action="Revoke"
        pending={revoke.isPending}
        error={revoke.error}
        onConfirm={confirm}
        onClose={() => setAsked(null)}
      >
        <Text size="sm">
          Whatever still uses it is refused everywhere within five seconds. This cannot be undone; another
          token can be made.
          {asked?.kind === 'demo_token' &&
            ' It is the demo of this site: the landing page has none from then on.'}
        </Text>
      </Confirm>
    </>
  );
}

function Row({ token, onRevoke }: { token: Token; onRevoke: () => void }): ReactElement {
  return (
    <Table.Tr>
      <Table.Th scope="row">
        {token.name || (
          <Text span inherit c="dimmed">
            {'No name'}
          </Text>
        )}
        <Text size="xs" c="dimmed" fw={400}>
          <code>{token.hint}</code>
        </Text>
      </Table.Th>
      <Table.Td>
        <StateBadge state={token.state} />
      </Table.Td>
      <Table.Td>
        <Ago at={token.created_at} />
      </Table.Td>
      <Table.Td>{token.last_used_at ? <Ago at={token.last_used_at} /> : 'never'}</Table.Td>
      <Table.Td ta="right">
        <Button
          size="compact-sm"
          variant="default"
          onClick={onRevoke}
          aria-label={`Revoke ${keyName(token)}`}
        >
          Revoke
        </Button>
      </Table.Td>
    </Table.Tr>
  );
}
