import { Anchor, Progress, Table, Text, VisuallyHidden } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactElement, ReactNode } from 'react';

import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import { formatExact, formatMs, formatShare } from '@/lib/format';

import classes from './Metrics.module.css';
import { useNames } from './queries';
import { countedOf, errorRate, type Measured, type Metrics } from './series';

interface Line {
  id: string;
  name: ReactNode;
  measured: Measured;
}

export function ByModel({ models }: Pick<Metrics, 'models'>): ReactElement {
  const names = useNames();
  const lines = models.map(({ model_id: id, measured }) => ({
    id,
    measured,
    name: names.has(id) ? <ModelLink id={id} name={names.model(id)} /> : names.model(id),
  }));
  return <Lines title="By model" head="Model" lines={lines} />;
}

export function ByKey({ keys }: Pick<Metrics, 'keys'>): ReactElement {
  const names = useNames();
  const lines = keys.map(({ key_id: id, measured }) => ({ id, measured, name: names.key(id) }));
  return <Lines title="By key" head="Key" lines={lines} />;
}

function ModelLink({ id, name }: { id: string; name: string }): ReactElement {
  return (
    <Anchor
      size="sm"
      fw={600}
      renderRoot={(props) => <Link {...props} to="/models/$modelId/metrics" params={{ modelId: id }} />}
    >
      {name}
    </Anchor>
  );
}

function Lines({
  title,
  head,
  lines,
}: {
  title: string;
  head: string;
  lines: readonly Line[];
}): ReactElement {
  const most = Math.max(1, ...lines.map(({ measured }) => countedOf(measured).asked));
  return (
    <Panel title={title}>
      <Scroll label={`${title}, table`}>
        <Table className={classes.breakdown ?? ''} verticalSpacing="xs">
          <caption>
            <VisuallyHidden>{title}, most requests first</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{head}</Table.Th>
              <Table.Th scope="col">Requests</Table.Th>
              {['Failed', 'p50', 'p99', 'In the model', 'Cold starts', 'Rows'].map((one) => (
                <Table.Th key={one} scope="col" ta="right">
                  {one}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {lines.map((line) => (
              <OneLine key={line.id} line={line} most={most} />
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Panel>
  );
}

function OneLine({ line: { name, measured }, most }: { line: Line; most: number }): ReactElement {
  const counted = countedOf(measured);
  const { sums, latency } = measured;
  return (
    <Table.Tr>
      <Table.Th scope="row">{name}</Table.Th>
      <Table.Td>
        {formatExact(counted.asked)}
        <Progress value={(100 * counted.asked) / most} size={4} mt={4} color="var(--mark)" aria-hidden />
      </Table.Td>
      <Table.Td ta="right">
        <Failed rate={errorRate(counted)} />
      </Table.Td>
      <Table.Td ta="right">{formatMs(latency.total?.p50_ms)}</Table.Td>
      <Table.Td ta="right">{formatMs(latency.total?.p99_ms)}</Table.Td>
      <Table.Td ta="right">{formatMs(sums.mean_compute_ms)}</Table.Td>
      <Table.Td ta="right">{formatExact(sums.cold_loads)}</Table.Td>
      <Table.Td ta="right">{formatExact(sums.rows)}</Table.Td>
    </Table.Tr>
  );
}

function Failed({ rate }: { rate: number | null }): ReactElement {
  if (rate === null) return <>–</>;
  return (
    <Text span size="sm" {...(rate > 0 ? { c: 'var(--bad)', fw: 600 } : {})}>
      {formatShare(rate)}
    </Text>
  );
}
