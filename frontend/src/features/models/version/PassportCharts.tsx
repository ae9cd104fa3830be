import '@mantine/charts/styles.css';

import { LineChart } from '@mantine/charts';
import { Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { formatBytes, formatCount, formatMs } from '@/lib/format';

import type { BatchPoint } from './passport';
import classes from './PassportPanel.module.css';

const HEIGHT = 190;

interface Curve {
  title: string;
  name: 'runMs' | 'rowsPerSecond' | 'memoryBytes';
  format: (value: number) => string;
}

const CURVES: readonly Curve[] = [
  { title: 'Time', name: 'runMs', format: formatMs },
  { title: 'Rows per second', name: 'rowsPerSecond', format: formatCount },
  { title: 'Memory', name: 'memoryBytes', format: formatBytes },
];

/** Time, rate and memory of a run by how many rows share it; the best size is marked. */
export default function PassportCharts({ points }: { points: readonly BatchPoint[] }): ReactElement {
  const at = points.findIndex((point) => point.best);
  const best = points[at] && { rows: points[at].rows, last: at > points.length / 2 };
  return (
    <div className={classes.charts}>
      {CURVES.map((curve) => (
        <Chart key={curve.name} curve={curve} points={points} best={best} />
      ))}
    </div>
  );
}

interface ChartProps {
  curve: Curve;
  points: readonly BatchPoint[];
  /** `last`: at the right, where a label has no room beyond it. */
  best: { rows: string; last: boolean } | undefined;
}

function Chart({ curve: { title, name, format }, points, best }: ChartProps): ReactElement {
  const values = points.map((point) => point[name]);
  const label = `${title} by rows in a run: from ${format(values[0] ?? 0)} for ${points[0]?.rows ?? ''} to ${format(
    values.at(-1) ?? 0,
  )} for ${points.at(-1)?.rows ?? ''}.`;
  return (
    <div>
      <Text size="sm" fw={600} mb={6}>
        {title}
        <Text span inherit fw={400} c="dimmed">
          {' '}
          by rows in a run
        </Text>
      </Text>
      <div role="img" aria-label={label}>
        <LineChart
          h={HEIGHT}
          data={[...points]}
          dataKey="rows"
          series={[{ name, label: title, color: 'var(--mark)' }]}
          curveType="linear"
          valueFormatter={format}
          tickLine="none"
          gridAxis="x"
          xAxisProps={{ interval: 'preserveStartEnd' }}
          yAxisProps={{ width: 64, tickCount: 4 }}
          referenceLines={
            best
              ? [
                  {
                    x: best.rows,
                    label: 'best',
                    color: 'var(--warn)',
                    labelPosition: best.last ? 'insideBottomRight' : 'insideBottomLeft',
                  },
                ]
              : []
          }
          lineChartProps={{ accessibilityLayer: false, margin: { right: 16 } }}
          tooltipAnimationDuration={0}
          strokeWidth={2}
        />
      </div>
    </div>
  );
}
