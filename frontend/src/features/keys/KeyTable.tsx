import { ActionIcon, Anchor, Badge, Group, Menu, Paper, Table, VisuallyHidden } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { Scroll } from '@/components/Scroll';
import { StateBadge } from '@/components/StateBadge';
import { type Key, keyName } from '@/lib/keys';

import { kindLabel, mayRotate, works } from './filters';
import type { Doing } from './KeysPage';
import classes from './KeysPage.module.css';

interface Props {
  keys: readonly Key[];
  names: ReadonlyMap<string, string>;
  onDo: (doing: Doing) => void;
}

export function KeyTable({ keys, names, onDo }: Props): ReactElement {
  return (
    <Paper withBorder>
      <Scroll label="Keys">
        <Table className={classes.table ?? ''} verticalSpacing="sm" horizontalSpacing="sm">
          <caption>
            <VisuallyHidden>API keys and model tokens, the newest first</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              {['Key', 'May', 'State', 'Created', 'Expires', 'Last used', 'Limit'].map((head) => (
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
            {keys.map((key) => (
              <Row key={key.id} row={key} names={names} onDo={onDo} />
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Paper>
  );
}

function Row({ row, names, onDo }: { row: Key } & Omit<Props, 'keys'>): ReactElement {
  return (
    <Table.Tr>
      <Table.Th scope="row">
        {row.name && <div>{row.name}</div>}
        <span className={classes.hint}>{row.hint}</span>
      </Table.Th>
      <Table.Td>
        <May row={row} names={names} />
      </Table.Td>
      <Table.Td>
        <StateBadge state={row.state} />
      </Table.Td>
      <Table.Td>
        <Ago at={row.created_at} />
        {row.created_by && <div className={classes.quiet}>by {row.created_by}</div>}
      </Table.Td>
      <Table.Td>
        <Ends row={row} />
      </Table.Td>
      <Table.Td>{row.last_used_at ? <Ago at={row.last_used_at} /> : 'never'}</Table.Td>
      <Table.Td>{row.requests_per_second === null ? '–' : `${row.requests_per_second}/s`}</Table.Td>
      <Table.Td>
        <Actions row={row} onDo={onDo} />
      </Table.Td>
    </Table.Tr>
  );
}

function May({ row, names }: { row: Key; names: Props['names'] }): ReactElement {
  if (row.model_id !== null) {
    return (
      <>
        <Anchor
          size="sm"
          renderRoot={(props) => (
            <Link {...props} to="/models/$modelId" params={{ modelId: row.model_id ?? '' }} />
          )}
        >
          {names.get(row.model_id) ?? 'a model that is gone'}
        </Anchor>
        <div className={classes.quiet}>{kindLabel(row.kind)}</div>
      </>
    );
  }
  return (
    <>
      <Group gap={4} maw="13rem">
        {row.scopes.map((scope) => (
          <Badge key={scope} variant="default" tt="none" fw={500} radius="sm">
            {scope}
          </Badge>
        ))}
      </Group>
      <div className={classes.quiet}>{kindLabel(row.kind)}</div>
    </>
  );
}

function Ends({ row }: { row: Key }): ReactElement {
  if (row.revoked_at !== null) {
    return (
      <>
        <span className={classes.quiet}>revoked</span> <Ago at={row.revoked_at} />
      </>
    );
  }
  return row.expires_at === null ? <>never</> : <Ago at={row.expires_at} />;
}

function Actions({ row, onDo }: { row: Key; onDo: Props['onDo'] }): ReactElement {
  return (
    <Menu position="bottom-end" withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label={`Actions for ${keyName(row)}`}>
          <span aria-hidden>⋯</span>
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item onClick={() => onDo({ what: 'explain', key: row })}>Explain</Menu.Item>
        {mayRotate(row) && <Menu.Item onClick={() => onDo({ what: 'rotate', key: row })}>Rotate</Menu.Item>}
        {works(row) && (
          <Menu.Item c="var(--bad)" onClick={() => onDo({ what: 'revoke', key: row })}>
            Revoke
          </Menu.Item>
        )}
      </Menu.Dropdown>
    </Menu>
  );
}
