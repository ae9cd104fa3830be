import { Alert, Stack, Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { StateBadge } from '@/components/StateBadge';
import type { Schema } from '@/lib/api/client';
import { formatExact } from '@/lib/format';
import type { Key } from '@/lib/keys';

import { kindLabel } from './filters';
import classes from './KeysPage.module.css';

type Explained = Schema['ExplainedKey'];

export function Explanation({ found }: { found: Explained }): ReactElement {
  return (
    <Stack gap="md" role="status">
      {found.works ? (
        <Alert color="green" variant="light" title="It works" />
      ) : (
        <Alert color="red" variant="light" title="It is refused">
          {found.why}
        </Alert>
      )}
      {found.key && <Facts apiKey={found.key} found={found} />}
      {found.may.length > 0 && <May may={found.may} />}
      {found.works && <Models models={found.models} />}
    </Stack>
  );
}

function Facts({ apiKey, found }: { apiKey: Key; found: Explained }): ReactElement {
  return (
    <dl className={classes.facts}>
      <dt>Key</dt>
      <dd>
        {apiKey.name} <span className={classes.hint}>{apiKey.hint}</span> ({kindLabel(apiKey.kind)}){' '}
        <StateBadge state={apiKey.state} />
      </dd>
      <dt>Expires</dt>
      <dd>{apiKey.expires_at === null ? 'never' : <Ago at={apiKey.expires_at} />}</dd>
      <dt>Last used</dt>
      <dd>{apiKey.last_used_at === null ? 'never' : <Ago at={apiKey.last_used_at} />}</dd>
      {found.own_limit && (
        <>
          <dt>Own limit</dt>
          <dd>{limit(found.own_limit)}</dd>
        </>
      )}
      {found.account_limit && (
        <>
          <dt>Account’s limit</dt>
          <dd>{limit(found.account_limit)}, all keys together</dd>
        </>
      )}
    </dl>
  );
}

function limit({ requests_per_second: rate, left }: Schema['RequestLimit']): string {
  return `${formatExact(rate)} requests a second${left === null ? '' : `, ${formatExact(left)} at once now`}`;
}

function May({ may }: { may: Explained['may'] }): ReactElement {
  return (
    <Table>
      <caption>
        <VisuallyHidden>What it may do</VisuallyHidden>
      </caption>
      <Table.Thead>
        <Table.Tr>
          <Table.Th scope="col">Scope</Table.Th>
          <Table.Th scope="col">What for</Table.Th>
          <Table.Th scope="col">May it?</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {may.map(({ scope, allowed, means }) => (
          <Table.Tr key={scope}>
            <Table.Th scope="row" fw={500}>
              {scope}
            </Table.Th>
            <Table.Td>{means}</Table.Td>
            <Table.Td>
              <Text span size="sm" fw={600} className={allowed ? (classes.yes ?? '') : (classes.no ?? '')}>
                {allowed ? 'yes' : 'no'}
              </Text>
            </Table.Td>
          </Table.Tr>
        ))}
      </Table.Tbody>
    </Table>
  );
}

function Models({ models }: { models: Explained['models'] }): ReactElement {
  if (models.length === 0) return <Text size="sm">There is no model that it may run.</Text>;
  const names = models.map(({ name, active }) =>
    active === null ? `${name} (no version answers yet)` : name,
  );
  return <Text size="sm">Models it may run: {names.join(', ')}.</Text>;
}
