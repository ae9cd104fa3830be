import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function LandingPage(): ReactElement {
  return <PageHeader title="ModelRocket" />;
}
