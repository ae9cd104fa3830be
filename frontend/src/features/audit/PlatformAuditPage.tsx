import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function PlatformAuditPage(): ReactElement {
  return <PageHeader title="Platform log" />;
}
