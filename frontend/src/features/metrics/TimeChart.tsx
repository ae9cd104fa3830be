import '@mantine/charts/styles.css';

import { AreaChart, BarChart, LineChart } from '@mantine/charts';
import type { ReactElement } from 'react';

import classes from './Metrics.module.css';
import { type Grain, tickOf, timeOf } from './ranges';
import type { Row } from './series';

export type Kind = 'area' | 'bars' | 'lines';

export interface Series {
  name: string;
  label: string;
  color: string;
  strokeDasharray?: string;
}

interface Props {
  kind: Kind;
  by: Grain;
  rows: readonly Row[];
  series: readonly Series[];
  format: (value: number) => string;
}

const DOT_RADIUS = 2;

/** Heavy, so loaded when it is needed. Fills its place. */
export default function TimeChart({ kind, by, rows, series, format }: Props): ReactElement {
  const shared = {
    h: '100%',
    data: [...rows],
    dataKey: 'at',
    series: [...series],
    withLegend: series.length > 1,
    valueFormatter: format,
    accessibilityLayer: false,
    textColor: 'dimmed',
    gridColor: 'var(--line)',
    className: classes.plot ?? '',
    xAxisProps: { tickFormatter: (at: number) => tickOf(at, by), minTickGap: 24 },
    yAxisProps: { width: 62, allowDecimals: kind !== 'bars' },
    tooltipProps: { labelFormatter: (at: unknown) => timeOf(Number(at), by) },
  };
  if (kind === 'bars') return <BarChart {...shared} type="stacked" maxBarWidth={28} />;
  if (kind === 'area') return <AreaChart {...shared} curveType="linear" withDots={false} strokeWidth={1.5} />;
  return (
    <LineChart
      {...shared}
      curveType="linear"
      connectNulls={false}
      strokeWidth={1.5}
      withDots
      dotProps={{ r: DOT_RADIUS, strokeWidth: 0 }}
    />
  );
}
