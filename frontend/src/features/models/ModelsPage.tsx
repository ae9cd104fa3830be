import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function ModelsPage(): ReactElement {
  return <PageHeader title="Models" />;
}
