import { Table } from '@mantine/core';
import { useQueries } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { Scroll } from '@/components/Scroll';
import { formatBytes } from '@/lib/format';

import classes from './fleet.module.css';
import { stateInWords } from './holdings';
import { type Host, hostQuery } from './queries';

/** The picture again, as a table. */
export function HoldingsTable({ hosts }: { hosts: readonly Host[] }): ReactElement {
  const [opened, setOpened] = useState(false);
  return (
    <details className={classes.disclosure} onToggle={(event) => setOpened(event.currentTarget.open)}>
      <summary>The same as a table</summary>
      {opened && <Rows hosts={hosts} />}
    </details>
  );
}

function Rows({ hosts }: { hosts: readonly Host[] }): ReactElement {
  const held = useQueries({ queries: hosts.map((host) => hostQuery(host.id)) });
  return (
    <Scroll label="Versions on hosts">
      <Table captionSide="top">
        <Table.Caption>Versions on each host, a hundred of each at most</Table.Caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Host</Table.Th>
            <Table.Th scope="col">Model</Table.Th>
            <Table.Th scope="col">Version</Table.Th>
            <Table.Th scope="col">State</Table.Th>
            <Table.Th scope="col" ta="right">
              Memory
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {hosts.flatMap((host, at) =>
            (held[at]?.data?.versions ?? []).map((version) => (
              <Table.Tr key={`${host.id}/${version.model_id}/${version.number}`}>
                <Table.Th scope="row">{host.id}</Table.Th>
                <Table.Td>{version.name}</Table.Td>
                <Table.Td>{version.number}</Table.Td>
                <Table.Td>{stateInWords(version.state)}</Table.Td>
                <Table.Td ta="right">
                  {version.memory_bytes === null ? 'not measured' : formatBytes(version.memory_bytes)}
                </Table.Td>
              </Table.Tr>
            )),
          )}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}
