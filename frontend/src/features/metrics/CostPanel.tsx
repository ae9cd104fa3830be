import { Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import type { Schema } from '@/lib/api/client';
import { formatExact } from '@/lib/format';

import { COST_PARTS, money, pricesOf } from './costs';
import classes from './Usage.module.css';
import { useNames } from './queries';

type Costs = Schema['Costs'];

export function CostPanel({ costs }: { costs: Costs }): ReactElement {
  const names = useNames();
  const dearest = Math.max(...costs.lines.map(({ cost }) => cost));
  return (
    <Panel
      title="Estimated cost by model"
      description="An estimate, not a bill: what was counted, times the prices below. Hosts that wait for work belong to no model, so running the platform costs more than this."
    >
      <Scroll label="Estimated cost by model, table">
        <Table className={classes.costs ?? ''} verticalSpacing="xs">
          <caption>
            <VisuallyHidden>Estimated cost by model, the dearest first</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Model</Table.Th>
              <Table.Th scope="col">
                <VisuallyHidden>Drawn</VisuallyHidden>
              </Table.Th>
              {COST_PARTS.map(({ part, label, color }) => (
                <Table.Th key={part} scope="col" ta="right">
                  <span className={classes.swatch} style={{ background: color }} aria-hidden />
                  {label}
                </Table.Th>
              ))}
              <Table.Th scope="col" ta="right">
                Together
              </Table.Th>
              <Table.Th scope="col" ta="right">
                Asked
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {costs.lines.map((line) => (
              <Line
                key={line.model_id}
                line={line}
                name={names.model(line.model_id)}
                dearest={dearest}
                currency={costs.currency}
              />
            ))}
          </Table.Tbody>
          <Table.Tfoot>
            <Table.Tr>
              <Table.Th scope="row" colSpan={COST_PARTS.length + 2}>
                All models
              </Table.Th>
              <Table.Td ta="right" fw={650}>
                {money(costs.total, costs.currency)}
              </Table.Td>
              <Table.Td ta="right">
                {formatExact(costs.lines.reduce((sum, { requests }) => sum + requests, 0))}
              </Table.Td>
            </Table.Tr>
          </Table.Tfoot>
        </Table>
      </Scroll>
      <HowComputed prices={costs.prices} />
    </Panel>
  );
}

interface LineProps {
  line: Schema['CostLine'];
  name: string;
  dearest: number;
  currency: string;
}

function Line({ line, name, dearest, currency }: LineProps): ReactElement {
  return (
    <Table.Tr>
      <Table.Th scope="row">{name}</Table.Th>
      <Table.Td>
        <div className={classes.bar} aria-hidden>
          {COST_PARTS.map(({ part, color }) => (
            <span
              key={part}
              style={{ background: color, width: `${dearest > 0 ? (100 * line.parts[part]) / dearest : 0}%` }}
            />
          ))}
        </div>
      </Table.Td>
      {COST_PARTS.map(({ part }) => (
        <Table.Td key={part} ta="right">
          {line.parts[part] > 0 ? money(line.parts[part], currency) : '–'}
        </Table.Td>
      ))}
      <Table.Td ta="right" fw={650}>
        {money(line.cost, currency)}
      </Table.Td>
      <Table.Td ta="right">{formatExact(line.requests)}</Table.Td>
    </Table.Tr>
  );
}

function HowComputed({ prices }: { prices: Schema['Prices'] }): ReactElement {
  return (
    <details className={classes.how}>
      <summary>How it is computed, and the prices of {prices.as_of}</summary>
      <Text size="sm" my="xs" maw="46rem">
        A request pays for the API gateway, the function behind it, and the time that the function waits for
        its answer. Of an hour of a host, one half is paid by what runs on it, a model by its seconds in one
        of the slots (compute), and the other half by what is in its memory, a model while it is loaded
        (memory). Storage is the files of versions, as long as they are kept.
      </Text>
      <Scroll label="Prices">
        <Table className={classes.prices ?? ''} verticalSpacing={4}>
          <caption>
            <VisuallyHidden>Prices of {prices.as_of}</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">What</Table.Th>
              <Table.Th scope="col" ta="right">
                {prices.currency}
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {pricesOf(prices).map(({ what, price }) => (
              <Table.Tr key={what}>
                <Table.Th scope="row" fw={400}>
                  {what}
                </Table.Th>
                <Table.Td ta="right">{price}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
      <Text size="xs" c="dimmed" mt="xs">
        Source: {prices.source}, as of {prices.as_of}. Without taxes, discounts and free tiers. Whoever
        operates this deployment can set others.
      </Text>
    </details>
  );
}
