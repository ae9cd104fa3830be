import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function LogInPage(): ReactElement {
  return <PageHeader title="Log in" />;
}
