import { Skeleton, Table, Text, VisuallyHidden } from '@mantine/core';
import { lazy, type ReactElement, Suspense } from 'react';

import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import { formatBytes, formatExact, formatMs } from '@/lib/format';

import { Fact, Facts } from '../Facts';
import { type BatchPoint, batchPoints, batchWords, type Passport } from './passport';
import classes from './PassportPanel.module.css';

const PassportCharts = lazy(() => import('./PassportCharts'));

/** What was measured of a version, on the form that is served. */
export function PassportPanel({ passport }: { passport: Passport }): ReactElement {
  const points = batchPoints(passport);
  return (
    <Panel
      title="Passport"
      description="What was measured on a host while the version was prepared. Placement, eviction and batching go by it."
    >
      {points.length > 1 && (
        <figure className={classes.figure}>
          <Suspense fallback={<Skeleton height={220} aria-busy="true" />}>
            <PassportCharts points={points} />
          </Suspense>
          <figcaption>
            <Text size="sm">{batchWords(passport)}</Text>
          </figcaption>
          <details className={classes.details}>
            <summary>The same as a table</summary>
            <BatchTable points={points} />
          </details>
        </figure>
      )}
      <Measured passport={passport} />
    </Panel>
  );
}

function Measured({ passport }: { passport: Passport }): ReactElement {
  return (
    <Facts>
      <Fact
        label="One row takes"
        value={formatMs(passport.run_ms)}
        means="Time in the model for a run of one row."
      />
      <Fact
        label="Loading, warm"
        value={formatMs(passport.load_ms)}
        means="Processor time of a load when the file is in the host’s page cache."
      />
      {passport.load_cold_ms > 0 && (
        <Fact
          label="Loading, cold"
          value={formatMs(passport.load_cold_ms)}
          means="How long a load takes when the file must come from disk first."
        />
      )}
      <Fact
        label="Memory"
        value={formatBytes(passport.memory_bytes)}
        means="What a host reserves: the loaded model and a run of the best size."
      />
      {passport.bytes_mapped > 0 && (
        <Fact
          label="Of it mapped"
          value={formatBytes(passport.bytes_mapped)}
          means="Weights that stay in a file: processes share them, and the system may drop them."
        />
      )}
      {passport.bytes_prepacked > 0 && (
        <Fact
          label="Prepacked"
          value={`${formatBytes(passport.bytes_prepacked)}, ${Number(passport.prepack_gain.toPrecision(2))} times as fast`}
          means="Weights rearranged for the processor, swapped in while the mapped ones answer."
        />
      )}
      <Fact
        label="Form"
        value={passport.prepared ? 'Prepared' : 'As uploaded'}
        means={
          passport.prepared
            ? 'The optimised form was measured, and is what is served.'
            : 'The file was measured as it came, and is what is served.'
        }
      />
      {passport.provider && (
        <Fact
          label="Ran on"
          value={passport.provider.replace('ExecutionProvider', '')}
          means="What onnxruntime ran it with."
        />
      )}
    </Facts>
  );
}

function BatchTable({ points }: { points: readonly BatchPoint[] }): ReactElement {
  return (
    <Scroll label="Runs by size">
      <Table verticalSpacing={4} miw="28rem">
        <caption>
          <VisuallyHidden>Time, rate and memory of runs by their size</VisuallyHidden>
        </caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Rows in a run</Table.Th>
            <Table.Th scope="col">Time</Table.Th>
            <Table.Th scope="col">Rows per second</Table.Th>
            <Table.Th scope="col">Memory</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {points.map(({ rows, runMs, rowsPerSecond, memoryBytes, best }) => (
            <Table.Tr key={rows}>
              <Table.Th scope="row">{best ? `${rows} (best)` : rows}</Table.Th>
              <Table.Td>{formatMs(runMs)}</Table.Td>
              <Table.Td>{rowsPerSecond > 0 ? formatExact(rowsPerSecond) : '–'}</Table.Td>
              <Table.Td>{formatBytes(memoryBytes)}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}
