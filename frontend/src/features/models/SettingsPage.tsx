import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function SettingsPage(): ReactElement {
  return <PageHeader title="Settings" />;
}
