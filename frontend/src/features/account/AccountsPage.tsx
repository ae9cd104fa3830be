import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function AccountsPage(): ReactElement {
  return <PageHeader title="Accounts" />;
}
