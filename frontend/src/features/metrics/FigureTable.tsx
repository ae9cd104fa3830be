import { Table, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Scroll } from '@/components/Scroll';

import classes from './Metrics.module.css';
import { type Grain, timeOf } from './ranges';
import type { Row } from './series';
import type { Series } from './TimeChart';

interface Props {
  title: string;
  by: Grain;
  rows: readonly Row[];
  series: readonly Series[];
  format: (value: number) => string;
}

/** The newest first. Steps in which nothing was are left out. */
export function FigureTable({ title, by, rows, series, format }: Props): ReactElement {
  const shown = rows.filter((row) => series.some(({ name }) => row[name])).toReversed();
  return (
    <div className={classes.tableBox}>
      <Scroll label={`${title}, as a table`}>
        <Table stickyHeader verticalSpacing={4}>
          <caption>
            <VisuallyHidden>{title}, the newest first</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">When</Table.Th>
              {series.map(({ name, label }) => (
                <Table.Th key={name} scope="col" ta="right">
                  {label}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {shown.map((row) => (
              <Table.Tr key={row.at}>
                <Table.Th scope="row" fw={400}>
                  {timeOf(row.at, by)}
                </Table.Th>
                {series.map(({ name }) => (
                  <Table.Td key={name} ta="right">
                    {typeof row[name] === 'number' ? format(row[name]) : '–'}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </div>
  );
}
