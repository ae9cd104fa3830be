import { Stack, Table, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Scroll } from '@/components/Scroll';
import { formatExact, formatShape, formatShare } from '@/lib/format';

import classes from './answers.module.css';
import { type Output, ranked, type Shown } from './answers';

/** More is in the raw JSON. */
const ROWS_MAX = 50;
const COLUMNS_MAX = 32;
const CHARTS_MAX = 5;
const CLASSES_MAX = 10;

/** One output of an answer, as its values suggest. */
export function OutputView({ name, shown }: Output): ReactElement {
  return (
    <section aria-label={name}>
      <h3 className={classes.output}>{name}</h3>
      <Values name={name} shown={shown} />
    </section>
  );
}

function Values({ name, shown }: { name: string; shown: Shown }): ReactElement {
  switch (shown.kind) {
    case 'probabilities':
      return <Probabilities rows={shown.rows} />;
    case 'labels':
    case 'numbers':
      return shown.rows.length === 1 ? (
        <p className={classes.single}>{shown.rows[0]}</p>
      ) : (
        <Rows name={name} rows={shown.rows.map((value) => [value])} columns={1} />
      );
    case 'table':
      return <Rows name={name} rows={shown.rows} columns={shown.columns} />;
    case 'tensor':
      return (
        <Text size="sm">
          {formatShape(shown.shape)} values
          {shown.range && ` from ${shown.range.least} to ${shown.range.most}`}. All of them are in the raw
          JSON.
        </Text>
      );
  }
}

function Probabilities({ rows }: { rows: number[][] }): ReactElement {
  return (
    <Stack gap="md">
      {rows.slice(0, CHARTS_MAX).map((row, index) => (
        <Bars key={index} row={row} title={rows.length > 1 ? `Row ${index + 1}` : null} />
      ))}
      {rows.length > CHARTS_MAX && (
        <Text size="sm" c="dimmed">
          And {formatExact(rows.length - CHARTS_MAX)} more rows, in the raw JSON.
        </Text>
      )}
    </Stack>
  );
}

function Bars({ row, title }: { row: number[]; title: string | null }): ReactElement {
  const best = ranked(row, CLASSES_MAX);
  return (
    <table className={classes.bars}>
      <caption className={title === null && row.length <= best.length ? classes.unseen : undefined}>
        {title ?? 'Probabilities'}
        {row.length > best.length && `: the ${best.length} likeliest of ${row.length} classes`}
      </caption>
      <thead className={classes.unseen}>
        <tr>
          <th scope="col">Class</th>
          <th scope="col">Bar</th>
          <th scope="col">Probability</th>
        </tr>
      </thead>
      <tbody>
        {best.map(({ index, share }) => (
          <tr key={index}>
            <th scope="row">{index}</th>
            <td className={classes.track}>
              <div className={classes.bar} style={{ width: `${share * 100}%` }} />
            </td>
            <td className={classes.share}>{formatShare(share)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Rows({ name, rows, columns }: { name: string; rows: string[][]; columns: number }): ReactElement {
  if (rows.length === 0) return <Text size="sm">No rows.</Text>;
  const shown = Math.min(columns, COLUMNS_MAX);
  const left = [
    rows.length > ROWS_MAX ? `${formatExact(rows.length - ROWS_MAX)} more rows` : '',
    columns > shown ? `${formatExact(columns - shown)} more columns` : '',
  ].filter(Boolean);
  return (
    <>
      <Scroll label={`Values of ${name}`}>
        <Table>
          <caption className={classes.unseen}>{name}</caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Row</Table.Th>
              {Array.from({ length: shown }, (_, column) => (
                <Table.Th key={column} scope="col" ta="right">
                  {columns === 1 ? 'Value' : column}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.slice(0, ROWS_MAX).map((row, index) => (
              <Table.Tr key={index}>
                <Table.Th scope="row">{index + 1}</Table.Th>
                {row.slice(0, shown).map((value, column) => (
                  <Table.Td key={column} ta="right">
                    {value}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
      {left.length > 0 && (
        <Text size="sm" c="dimmed" mt={4}>
          And {left.join(' and ')}, in the raw JSON.
        </Text>
      )}
    </>
  );
}
