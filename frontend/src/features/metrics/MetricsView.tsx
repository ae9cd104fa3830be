import { Stack } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { Loaded } from '@/components/Loaded';

import { ByKey, ByModel } from './Breakdown';
import { Figures } from './Figures';
import { Headline } from './Headline';
import { NoRequests } from './NoRequests';
import { PhasesPanel } from './PhasesPanel';
import { metricsQuery } from './queries';
import type { Range } from './ranges';
import { countedOf } from './series';

interface Props {
  range: Range;
  /** Null for all models. */
  modelId: string | null;
}

export function MetricsView({ range, modelId }: Props): ReactElement {
  const query = useQuery(metricsQuery(range, modelId));
  return (
    <Stack>
      {query.isError && query.data !== undefined && (
        <ErrorPanel error={query.error} title="These figures are old" onRetry={() => void query.refetch()} />
      )}
      <Loaded
        query={query}
        isEmpty={({ total }) => countedOf(total).asked === 0}
        empty={<NoRequests range={range} modelId={modelId} />}
      >
        {(metrics) => (
          <>
            <Headline metrics={metrics} now={query.dataUpdatedAt} />
            <Figures metrics={metrics} now={query.dataUpdatedAt} />
            <PhasesPanel latency={metrics.total.latency} />
            {modelId === null && <ByModel models={metrics.models} />}
            <ByKey keys={metrics.keys} />
          </>
        )}
      </Loaded>
    </Stack>
  );
}
