import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

import { AuditLog } from './AuditLog';

/** What was done to one's own account, and by whom. */
export function AuditPage(): ReactElement {
  return (
    <>
      <PageHeader
        title="Audit log"
        description="Who changed what in your account, and what was refused, newest first. Entries are chained by hashes, so that one that is changed or taken out shows. They are kept for a year."
      />
      <AuditLog account="" />
    </>
  );
}
