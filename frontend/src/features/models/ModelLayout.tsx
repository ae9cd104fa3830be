import { Outlet } from '@tanstack/react-router';
import type { ReactElement } from 'react';

export function ModelLayout(): ReactElement {
  return <Outlet />;
}
