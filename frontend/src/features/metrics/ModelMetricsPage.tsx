import { Group } from '@mantine/core';
import { getRouteApi } from '@tanstack/react-router';
import { type ReactElement, useState } from 'react';

import { MetricsView } from './MetricsView';
import { RangePicker } from './RangePicker';
import { LAST_HOUR } from './ranges';

const route = getRouteApi('/inside/models/$modelId');

/** As the metrics of all models, of one. */
export function ModelMetricsPage(): ReactElement {
  const { modelId } = route.useParams();
  const [range, setRange] = useState(LAST_HOUR);
  return (
    <>
      <Group justify="end" mb="md">
        <RangePicker range={range} onChange={setRange} />
      </Group>
      <MetricsView range={range} modelId={modelId} />
    </>
  );
}
