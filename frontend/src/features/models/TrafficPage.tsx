import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function TrafficPage(): ReactElement {
  return <PageHeader title="Traffic" />;
}
