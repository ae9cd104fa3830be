import { Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import type { Schema } from '@/lib/api/client';
import { formatExact, formatMs } from '@/lib/format';

import classes from './Metrics.module.css';
import { PHASES } from './phases';
import { logBounds, logPosition } from './series';

type Percentiles = Schema['Percentiles'];

/** How long each part of a request took, side by side on a scale of tenfolds. */
export function PhasesPanel({ latency }: { latency: Schema['Latency'] }): ReactElement {
  const known = PHASES.flatMap(({ phase }) => latency[phase] ?? []);
  const bounds = logBounds(known.flatMap(({ p50_ms, p99_ms }) => [p50_ms, p99_ms]));
  return (
    <Panel
      title="Where the time goes"
      description={
        <>
          Bars go from p50 to p99, on a scale from {formatMs(bounds[0])} to {formatMs(bounds[1])} on which
          every line is ten times the one before. Each figure is at most a tenth off.
        </>
      }
    >
      <Scroll label="Where the time goes, table">
        <Table className={classes.phases ?? ''} verticalSpacing="xs">
          <caption>
            <VisuallyHidden>Latency by part: percentiles</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Part</Table.Th>
              <Table.Th scope="col" className={classes.track ?? ''}>
                <VisuallyHidden>From p50 to p99, drawn</VisuallyHidden>
              </Table.Th>
              {['p50', 'p90', 'p99', 'Mean', 'Requests'].map((head) => (
                <Table.Th key={head} scope="col" ta="right">
                  {head}
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {PHASES.map(({ phase, label, means }) => (
              <Table.Tr key={phase}>
                <Table.Th scope="row">
                  {label}
                  <Text size="xs" c="dimmed" fw={400}>
                    {means}
                  </Text>
                </Table.Th>
                <Figures found={latency[phase] ?? null} bounds={bounds} />
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Panel>
  );
}

function Figures({
  found,
  bounds,
}: {
  found: Percentiles | null;
  bounds: readonly [number, number];
}): ReactElement {
  return (
    <>
      <Table.Td>{found && <Span found={found} bounds={bounds} />}</Table.Td>
      {[found?.p50_ms, found?.p90_ms, found?.p99_ms, found?.mean_ms].map((ms, index) => (
        <Table.Td key={index} ta="right">
          {formatMs(ms)}
        </Table.Td>
      ))}
      <Table.Td ta="right">{found ? formatExact(found.count) : 'none'}</Table.Td>
    </>
  );
}

function Span({ found, bounds }: { found: Percentiles; bounds: readonly [number, number] }): ReactElement {
  const from = 100 * logPosition(found.p50_ms, bounds);
  const to = 100 * logPosition(found.p99_ms, bounds);
  const decades = Math.round(Math.log10(bounds[1] / bounds[0]));
  return (
    <div className={classes.scale} style={{ backgroundSize: `calc(100% / ${decades}) 100%` }} aria-hidden>
      <span className={classes.span} style={{ left: `${from}%`, width: `${to - from}%` }} />
    </div>
  );
}
