import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function UsagePage(): ReactElement {
  return <PageHeader title="Usage" />;
}
