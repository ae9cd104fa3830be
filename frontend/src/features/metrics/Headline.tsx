import type { ReactElement } from 'react';

import { Stat } from '@/components/Stat';
import { formatCount, formatExact, formatMs, formatShare } from '@/lib/format';

import classes from './Metrics.module.css';
import { countedOf, errorRate, type Metrics, secondsOf } from './series';

/** The figures of the whole range. `now`: when they were asked for. */
export function Headline({ metrics, now }: { metrics: Metrics; now: number }): ReactElement {
  const { sums, latency } = metrics.total;
  const counted = countedOf(metrics.total);
  const seconds = secondsOf(Date.parse(metrics.since), Date.parse(metrics.until), now);
  const rate = errorRate(counted);
  return (
    <div className={classes.stats}>
      <Stat
        label="Requests"
        value={formatCount(counted.asked)}
        hint={`${perSecond(counted.asked / seconds)} on average`}
      />
      <Stat
        label="Failed"
        value={rate === null ? '–' : formatShare(rate)}
        hint={`${formatExact(counted.failed)} requests`}
      />
      <Stat label="Latency, p50" value={formatMs(latency.total?.p50_ms)} hint="half were faster" />
      <Stat label="Latency, p99" value={formatMs(latency.total?.p99_ms)} hint="1 in 100 was slower" />
      <Stat label="Cold starts" value={formatCount(sums.cold_loads)} hint="waited for a load" />
      <Stat
        label="Rows"
        value={formatCount(sums.rows)}
        hint={`${perSecond(sums.rows / seconds)} on average`}
      />
    </div>
  );
}

export function perSecond(rate: number): string {
  return `${Number(rate.toPrecision(2)).toLocaleString('en')}/s`;
}
