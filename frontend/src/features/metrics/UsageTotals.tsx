import type { ReactElement } from 'react';

import { Stat, Stats } from '@/components/Stat';
import type { Schema } from '@/lib/api/client';
import { formatBytes, formatCount, formatExact, formatMs } from '@/lib/format';

import { money } from './costs';
import { grouped, type UsageLine } from './usage';

interface Props {
  lines: readonly UsageLine[];
  /** Null while it is not known. */
  costs: Schema['Costs'] | null;
}

export function UsageTotals({ lines, costs }: Props): ReactElement | null {
  const [all] = grouped(lines, []);
  if (!all) return null;
  return (
    <Stats>
      <Stat label="Requests" value={formatCount(all.requests)} hint={`${formatExact(all.failed)} failed`} />
      <Stat label="Rows" value={formatCount(all.rows)} hint="of answered requests" />
      <Stat label="Compute" value={formatMs(all.computeMs)} hint="time in models" />
      <Stat label="Data" value={formatBytes(all.bytes)} hint="requests and answers" />
      <Stat
        label="Estimated cost"
        value={costs ? money(costs.total, costs.currency) : '–'}
        hint="not a bill"
      />
    </Stats>
  );
}
