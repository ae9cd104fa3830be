import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function AuditPage(): ReactElement {
  return <PageHeader title="Audit log" />;
}
