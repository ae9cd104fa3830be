import { Table, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Scroll } from '@/components/Scroll';
import { formatBytes, formatExact, formatMs } from '@/lib/format';

import type { Names } from './queries';
import { tickOf } from './ranges';
import type { Grouped, Part } from './usage';
import classes from './Usage.module.css';

interface Props {
  groups: readonly Grouped[];
  parts: readonly Part[];
  names: Names;
}

interface Column {
  head: string;
  cell: (group: Grouped) => string;
}

const COUNTS: readonly Column[] = [
  { head: 'Requests', cell: ({ requests }) => formatExact(requests) },
  { head: 'Failed', cell: ({ failed }) => formatExact(failed) },
  { head: 'Rows', cell: ({ rows }) => formatExact(rows) },
  { head: 'Compute', cell: ({ computeMs }) => formatMs(computeMs) },
  { head: 'Data', cell: ({ bytes }) => formatBytes(bytes) },
];

export function UsageTable({ groups, parts, names }: Props): ReactElement {
  const [first, ...others] = columnsOf(parts, names);
  return (
    <Scroll label="Usage, table">
      <Table className={classes.usage ?? ''} verticalSpacing="xs">
        <caption>
          <VisuallyHidden>Usage, the newest first</VisuallyHidden>
        </caption>
        <Table.Thead>
          <Table.Tr>
            {[first, ...others].map((column) => (
              <Table.Th key={column?.head} scope="col">
                {column?.head}
              </Table.Th>
            ))}
            {COUNTS.map(({ head }) => (
              <Table.Th key={head} scope="col" ta="right">
                {head}
              </Table.Th>
            ))}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {groups.map((group) => (
            <Table.Tr key={group.id}>
              <Table.Th scope="row" fw={500}>
                {first?.cell(group)}
              </Table.Th>
              {others.map(({ head, cell }) => (
                <Table.Td key={head}>{cell(group)}</Table.Td>
              ))}
              {COUNTS.map(({ head, cell }) => (
                <Table.Td key={head} ta="right">
                  {cell(group)}
                </Table.Td>
              ))}
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}

function columnsOf(parts: readonly Part[], names: Names): Column[] {
  const model: Column = {
    head: 'Model',
    cell: ({ modelId }) => (modelId === null ? '' : names.model(modelId)),
  };
  const columns: Record<Part, Column[]> = {
    day: [{ head: 'Day', cell: ({ day }) => (day === null ? '' : tickOf(Date.parse(day), 'day')) }],
    model: [model],
    version: [model, { head: 'Version', cell: ({ version }) => String(version) }],
    key: [{ head: 'Key', cell: ({ keyId }) => (keyId === null ? '' : names.key(keyId)) }],
  };
  return parts.flatMap((part) => columns[part]);
}
