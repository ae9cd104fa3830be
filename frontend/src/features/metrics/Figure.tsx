import { Group, SegmentedControl, Skeleton } from '@mantine/core';
import { lazy, type ReactElement, type ReactNode, Suspense, useState } from 'react';

import { Panel } from '@/components/Panel';

import { FigureTable } from './FigureTable';
import classes from './Metrics.module.css';
import { type Grain, timeOf } from './ranges';
import type { Row } from './series';
import type { Kind, Series } from './TimeChart';

const TimeChart = lazy(() => import('./TimeChart'));

interface Props {
  title: string;
  description?: string;
  /** Across the page. */
  wide?: boolean;
  by: Grain;
  kind?: Kind;
  rows: readonly Row[];
  series: readonly Series[];
  format: (value: number) => string;
  /** What is said where there is nothing but zeros. */
  nothing?: string;
  actions?: ReactNode;
}

/** Something over time, as a chart or as a table. Who cannot see the chart is told its last and highest values. */
export function Figure({
  title,
  description,
  wide,
  kind = 'lines',
  nothing,
  actions,
  ...shown
}: Props): ReactElement {
  const [view, setView] = useState<'chart' | 'table'>('chart');
  return (
    <div className={wide ? (classes.wide ?? '') : ''}>
      <Panel
        title={title}
        description={description}
        actions={
          <Group gap="xs">
            {actions}
            <SegmentedControl
              size="xs"
              aria-label={`${title}: how to show it`}
              data={[
                { value: 'chart', label: 'Chart' },
                { value: 'table', label: 'Table' },
              ]}
              value={view}
              onChange={setView}
            />
          </Group>
        }
      >
        {nothing !== undefined && isNothing(shown) ? (
          <div className={classes.nothing}>{nothing}</div>
        ) : view === 'table' ? (
          <FigureTable title={title} {...shown} />
        ) : (
          <div className={classes.chart} role="img" aria-label={summary(title, shown)}>
            <Suspense fallback={<Skeleton height="100%" aria-busy="true" />}>
              <TimeChart kind={kind} {...shown} />
            </Suspense>
          </div>
        )}
      </Panel>
    </div>
  );
}

function isNothing({ rows, series }: Pick<Props, 'rows' | 'series'>): boolean {
  return rows.every((row) => series.every(({ name }) => !row[name]));
}

/** `Latency, 61 points: p50 highest 12 ms (Mon 1 Jan, 12:00), last 3 ms; …` */
function summary(
  title: string,
  { by, rows, series, format }: Pick<Props, 'by' | 'rows' | 'series' | 'format'>,
): string {
  const told = series.map(({ name, label }) => {
    const known = rows.flatMap(({ at, [name]: value }) => (typeof value === 'number' ? { at, value } : []));
    const highest = known.reduce((one, two) => (two.value > one.value ? two : one), { at: 0, value: -1 });
    const last = known.at(-1);
    if (!last) return `${label}: nothing`;
    return `${label}: highest ${format(highest.value)} (${timeOf(highest.at, by)}), last ${format(last.value)}`;
  });
  return `${title}, ${rows.length} points by the ${by}. ${told.join('; ')}.`;
}
