import { Select } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import { formatExact, formatMs, formatShare } from '@/lib/format';

import { Figure } from './Figure';
import { perSecond } from './Headline';
import classes from './Metrics.module.css';
import { PHASES } from './phases';
import { STEP_MS } from './ranges';
import {
  codesOf,
  coldRows,
  countedOf,
  errorRows,
  latencyRows,
  type Metrics,
  OTHER,
  type Phase,
  requestRows,
  type Slot,
  slotsOf,
  throughputRows,
} from './series';

const CODES_MOST = 5;
const CODE_COLORS = ['red.7', 'orange.8', 'grape.6', 'yellow.8', 'pink.5'];

/** What happened over time. */
export function Figures({ metrics, now }: { metrics: Metrics; now: number }): ReactElement {
  const slots = slotsOf(metrics);
  const { by } = metrics;
  const shared = { by, slots };
  return (
    <div className={classes.figures}>
      <Requests {...shared} metrics={metrics} />
      <Latencies {...shared} />
      <Figure
        title="Share of failed requests"
        nothing="No request failed."
        by={by}
        rows={errorRows(slots)}
        series={[{ name: 'rate', label: 'Failed', color: 'var(--bad)' }]}
        format={formatShare}
      />
      <Figure
        title="Rows a second"
        nothing="No rows were answered."
        by={by}
        kind="area"
        rows={throughputRows(slots, STEP_MS[by], now)}
        series={[{ name: 'rows', label: 'Rows a second', color: 'var(--mark)' }]}
        format={perSecond}
      />
      <Figure
        title="Cold starts"
        nothing="No request waited for a model to be loaded."
        by={by}
        kind="bars"
        rows={coldRows(slots)}
        series={[{ name: 'cold', label: 'Cold starts', color: 'var(--mark)' }]}
        format={formatExact}
      />
    </div>
  );
}

interface Shared {
  by: Metrics['by'];
  slots: readonly Slot[];
}

function Requests({ by, slots, metrics }: Shared & { metrics: Metrics }): ReactElement {
  const codes = codesOf(countedOf(metrics.total), CODES_MOST);
  return (
    <Figure
      wide
      title="Requests"
      description={`By how they ended, each ${by}.`}
      by={by}
      kind="bars"
      rows={requestRows(slots, codes)}
      series={[
        { name: 'answered', label: 'Answered', color: 'var(--mark)' },
        ...codes.map((code, index) => ({
          name: code,
          label: code === OTHER ? 'other errors' : code,
          color: code === OTHER ? 'gray.6' : (CODE_COLORS[index] ?? 'gray.6'),
        })),
      ]}
      format={formatExact}
    />
  );
}

function Latencies({ by, slots }: Shared): ReactElement {
  const [phase, setPhase] = useState<Phase>('total');
  return (
    <Figure
      title="Latency"
      nothing="Nothing was measured of it."
      by={by}
      rows={latencyRows(slots, phase)}
      series={[
        { name: 'p50', label: 'p50', color: 'var(--mark)' },
        { name: 'p90', label: 'p90', color: 'orange.8', strokeDasharray: '6 3' },
        { name: 'p99', label: 'p99', color: 'red.7', strokeDasharray: '2 2' },
      ]}
      format={formatMs}
      actions={
        <Select
          size="xs"
          w="8rem"
          aria-label="Of which part"
          data={PHASES.map(({ phase: value, label }) => ({ value, label }))}
          value={phase}
          onChange={(value) => setPhase(value ?? 'total')}
          allowDeselect={false}
        />
      }
    />
  );
}
