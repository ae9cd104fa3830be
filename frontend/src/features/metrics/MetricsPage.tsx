import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function MetricsPage(): ReactElement {
  return <PageHeader title="Metrics" />;
}
