import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function PlaygroundPage(): ReactElement {
  return <PageHeader title="Playground" />;
}
