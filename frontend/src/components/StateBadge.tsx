import { Badge } from '@mantine/core';
import type { ReactElement } from 'react';

const COLORS: Readonly<Record<string, string>> = {
  active: 'green',
  ready: 'green',
  live: 'green',
  expiring: 'orange',
  rotated: 'orange',
  uploading: 'blue',
  preparing: 'blue',
  activating: 'blue',
  warming: 'blue',
  candidate: 'violet',
  failed: 'red',
  revoked: 'gray',
  expired: 'gray',
  suspended: 'red',
  deleted: 'gray',
};

/** A state as a word; the colour only repeats it. */
export function StateBadge({ state }: { state: string }): ReactElement {
  return (
    <Badge color={COLORS[state] ?? 'gray'} variant="light" tt="none" miw="max-content">
      {state}
    </Badge>
  );
}
