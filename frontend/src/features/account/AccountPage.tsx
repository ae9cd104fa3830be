import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function AccountPage(): ReactElement {
  return <PageHeader title="Account" />;
}
