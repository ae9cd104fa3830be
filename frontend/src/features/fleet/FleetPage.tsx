import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function FleetPage(): ReactElement {
  return <PageHeader title="Fleet" />;
}
