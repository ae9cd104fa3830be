import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function VersionPage(): ReactElement {
  return <PageHeader title="Version" />;
}
