import { type ReactElement, useState } from 'react';

import { PageHeader } from '@/components/PageHeader';

import { MetricsView } from './MetricsView';
import { RangePicker } from './RangePicker';
import { LAST_HOUR } from './ranges';

export function MetricsPage(): ReactElement {
  const [range, setRange] = useState(LAST_HOUR);
  return (
    <>
      <PageHeader
        title="Metrics"
        description="What was asked of your models, what came of it, and where the time went."
        actions={<RangePicker range={range} onChange={setRange} />}
      />
      <MetricsView range={range} modelId={null} />
    </>
  );
}
