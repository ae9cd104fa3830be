import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function OverviewPage(): ReactElement {
  return <PageHeader title="Overview" />;
}
