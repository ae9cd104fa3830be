import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function PlacementPage(): ReactElement {
  return <PageHeader title="Placement" />;
}
