import type { ReactElement } from 'react';

import { PageHeader } from '@/components/PageHeader';

export function SignUpPage(): ReactElement {
  return <PageHeader title="Sign up" />;
}
