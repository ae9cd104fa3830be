import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function ModelMetricsPage(): ReactElement {
  return <PageHeader title="Metrics" />;
}
