import { Badge, Button, Group, Table, Text, VisuallyHidden } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { Ago } from '@/components/Ago';
import { Confirm } from '@/components/Confirm';
import { Loaded } from '@/components/Loaded';
import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import type { Schema } from '@/lib/api/client';

import { deviceOf } from './devices';
import { sessionsQuery } from './queries';
import { useLogOutEverywhere } from './useLogOutEverywhere';

const SHOWN = 8;

export function SessionsPanel(): ReactElement {
  const sessions = useQuery(sessionsQuery);
  return (
    <Panel
      title="Where you are logged in"
      description="If one of these is not you, change your password: that ends all others."
      actions={<LogOutEverywhere />}
    >
      <Loaded query={sessions}>{(list) => <Latest sessions={list} />}</Loaded>
    </Panel>
  );
}

function Latest({ sessions }: { sessions: readonly Schema['Session'][] }): ReactElement {
  const [all, setAll] = useState(false);
  return (
    <>
      <SessionTable sessions={all ? sessions : sessions.slice(0, SHOWN)} />
      {sessions.length > SHOWN && (
        <Button mt="sm" variant="subtle" onClick={() => setAll(!all)}>
          {all ? 'Show the latest only' : `Show all ${sessions.length}`}
        </Button>
      )}
    </>
  );
}

function SessionTable({ sessions }: { sessions: readonly Schema['Session'][] }): ReactElement {
  return (
    <Scroll label="Sessions">
      <Table miw="42rem">
        <caption>
          <VisuallyHidden>Your sessions, the latest log-in first</VisuallyHidden>
        </caption>
        <Table.Thead>
          <Table.Tr>
            {['With', 'From', 'Logged in', 'Last used', 'Ends'].map((head) => (
              <Table.Th key={head} scope="col">
                {head}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {sessions.map((session) => (
            <Table.Tr key={session.id}>
              <Table.Th scope="row" title={session.user_agent}>
                <Group gap="xs" wrap="nowrap">
                  {deviceOf(session.user_agent) || 'a program without a name'}
                  {session.current && (
                    <Badge variant="light" tt="none" miw="max-content">
                      this one
                    </Badge>
                  )}
                </Group>
              </Table.Th>
              <Table.Td>{session.address}</Table.Td>
              <Table.Td>
                <Ago at={session.began_at} />
              </Table.Td>
              <Table.Td>
                <Ago at={session.last_used_at} />
              </Table.Td>
              <Table.Td>
                <Ago at={session.expires_at} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}

function LogOutEverywhere(): ReactElement {
  const [asking, setAsking] = useState(false);
  const logOut = useLogOutEverywhere();
  return (
    <>
      <Button variant="default" onClick={() => setAsking(true)}>
        Log out everywhere
      </Button>
      <Confirm
        opened={asking}
        title="Log out everywhere?"
        action="Log out everywhere"
        pending={logOut.isPending}
        error={logOut.error}
        onConfirm={() => logOut.mutate()}
        onClose={() => setAsking(false)}
      >
        <Text>Every session of yours ends, this one too. Your API keys go on working.</Text>
      </Confirm>
    </>
  );
}
