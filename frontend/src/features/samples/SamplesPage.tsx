import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function SamplesPage(): ReactElement {
  return <PageHeader title="Code" />;
}
