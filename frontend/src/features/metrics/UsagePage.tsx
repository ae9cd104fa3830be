import { SegmentedControl, Stack } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { Loaded } from '@/components/Loaded';
import { PageHeader } from '@/components/PageHeader';

import { CostPanel } from './CostPanel';
import { costQuery, usageQuery } from './queries';
import { PERIODS } from './usage';
import { NoUsage } from './NoUsage';
import { UsagePanel } from './UsagePanel';
import { UsageTotals } from './UsageTotals';

export function UsagePage(): ReactElement {
  const [period, setPeriod] = useState(PERIODS[0]);
  const [now] = useState(() => Date.now());
  const since = period.since(now);
  const usage = useQuery(usageQuery(since));
  const cost = useQuery(costQuery(since));
  return (
    <>
      <PageHeader
        title="Usage and cost"
        description="What was used, by day, model, version and key, and what that is estimated to cost. Days are those of UTC."
        actions={
          <SegmentedControl
            aria-label="Since when"
            data={PERIODS.map(({ id, label }) => ({ value: id, label }))}
            value={period.id}
            onChange={(id) => setPeriod(PERIODS.find((one) => one.id === id) ?? period)}
          />
        }
      />
      <Stack>
        <Loaded query={usage} isEmpty={({ lines }) => lines.length === 0} empty={<NoUsage />}>
          {({ lines }) => <UsageTotals lines={lines} costs={cost.data ?? null} />}
        </Loaded>
        <Loaded query={cost}>
          {(costs) => (costs.lines.length === 0 ? null : <CostPanel costs={costs} />)}
        </Loaded>
        {usage.data && usage.data.lines.length > 0 && <UsagePanel {...usage.data} since={since} />}
      </Stack>
    </>
  );
}
