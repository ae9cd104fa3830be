import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function KeysPage(): ReactElement {
  return <PageHeader title="API keys" />;
}
