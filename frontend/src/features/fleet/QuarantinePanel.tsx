import { Table, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import type { Schema } from '@/lib/api/client';
import { useAccount } from '@/lib/session';
import { useNow } from '@/lib/useNow';

import { counted } from './decisions';

type Quarantined = Schema['QuarantinedVersion'];

const TICK_MS = 10_000;
const MINUTE_MS = 60_000;

/** Versions that no host runs now. */
export function QuarantinePanel({ versions }: { versions: readonly Quarantined[] }): ReactElement {
  return (
    <Panel
      title="Quarantined versions"
      description="A version that ended its process twice on a host, or ran past its deadline so often, is not served by any host for 15 minutes."
    >
      {versions.length === 0 ? <Text size="sm">None.</Text> : <Versions versions={versions} />}
    </Panel>
  );
}

function Versions({ versions }: { versions: readonly Quarantined[] }): ReactElement {
  const now = useNow(TICK_MS);
  const account = useAccount();
  return (
    <Scroll label="Table of quarantined versions">
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Model</Table.Th>
            <Table.Th scope="col">Version</Table.Th>
            <Table.Th scope="col">Account</Table.Th>
            <Table.Th scope="col">Ends in</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {versions.map((one) => (
            <Table.Tr key={`${one.model_id}/${one.number}`}>
              <Table.Th scope="row">
                {one.account_id === account.id ? (
                  <Link to="/models/$modelId" params={{ modelId: one.model_id }}>
                    {one.name}
                  </Link>
                ) : (
                  one.name
                )}
              </Table.Th>
              <Table.Td>{one.number}</Table.Td>
              <Table.Td>{one.account_id === account.id ? 'yours' : <code>{one.account_id}</code>}</Table.Td>
              <Table.Td>
                {counted(Math.max(0, Math.ceil((Date.parse(one.until) - now) / MINUTE_MS)), 'minute')}
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}
