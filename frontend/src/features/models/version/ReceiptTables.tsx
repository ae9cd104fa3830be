import { Badge, Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Scroll } from '@/components/Scroll';
import { formatExact } from '@/lib/format';

import { formatError } from './errors';
import { kindMeans } from './kinds';
import type { Compared, KindOfRows } from './receipt';
import classes from './ReceiptPanel.module.css';

/** How closely each output agrees. */
export function OutputsTable({ compared }: { compared: Compared }): ReactElement {
  return (
    <Scroll label="Agreement by output">
      <Table verticalSpacing={6} miw="38rem">
        <caption>
          <VisuallyHidden>Agreement with the original by output</VisuallyHidden>
        </caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Output</Table.Th>
            <Table.Th scope="col">Type</Table.Th>
            <Table.Th scope="col">Rows</Table.Th>
            <Table.Th scope="col">Largest difference</Table.Th>
            <Table.Th scope="col">Relative</Table.Th>
            <Table.Th scope="col">Other labels</Table.Th>
            <Table.Th scope="col">Ties</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {compared.outputs.map((output) => (
            <Table.Tr key={output.name}>
              <Table.Th scope="row">
                <code>{output.name}</code>
              </Table.Th>
              <Table.Td>
                <code>{output.dtype}</code>
              </Table.Td>
              <Table.Td>{formatExact(output.rows)}</Table.Td>
              <Table.Td>{formatError(output.absolute)}</Table.Td>
              <Table.Td>{formatError(output.relative)}</Table.Td>
              <Table.Td>{formatExact(output.labelFlips)}</Table.Td>
              <Table.Td>{formatExact(output.ties)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
      {compared.outputsLeftOut > 0 && (
        <Text size="sm" c="dimmed">
          and {compared.outputsLeftOut} outputs that agree better
        </Text>
      )}
    </Scroll>
  );
}

/** On which kinds of rows, and what came of each. */
export function KindsTable({ kinds }: { kinds: readonly KindOfRows[] }): ReactElement {
  return (
    <Scroll label="Kinds of rows">
      <Table verticalSpacing={6} miw="38rem">
        <caption>
          <VisuallyHidden>What came of each kind of rows</VisuallyHidden>
        </caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Kind of rows</Table.Th>
            <Table.Th scope="col">Rows</Table.Th>
            <Table.Th scope="col">Outcome</Table.Th>
            <Table.Th scope="col">Counts</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {kinds.map((one) => (
            <Kind key={one.kind} one={one} />
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}

function Kind({ one }: { one: KindOfRows }): ReactElement {
  const agrees = one.outcome === 'agrees';
  return (
    <Table.Tr>
      <Table.Th scope="row">
        {one.kind}
        <Text size="xs" fw={400} className={classes.means ?? ''}>
          {kindMeans(one.kind)}
        </Text>
      </Table.Th>
      <Table.Td>{formatExact(one.rows)}</Table.Td>
      <Table.Td>
        <Badge variant="light" tt="none" color={agrees ? 'green' : 'orange'}>
          {one.outcome}
        </Badge>
        {one.why && (
          <Text size="xs" mt={2} className={classes.why ?? ''}>
            {one.why}
          </Text>
        )}
      </Table.Td>
      <Table.Td>{one.judged ? 'judged' : 'only recorded'}</Table.Td>
    </Table.Tr>
  );
}
