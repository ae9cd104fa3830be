import { Skeleton, Stack } from '@mantine/core';
import type { ReactElement } from 'react';

/** Grey lines in the place of what comes: as many as it may be. */
export function Waiting({ lines }: { lines: number }): ReactElement {
  return (
    <Stack gap="sm" aria-busy="true" aria-label="Loading" role="status">
      {Array.from({ length: lines }, (_, at) => (
        <Skeleton key={at} height={28} />
      ))}
    </Stack>
  );
}
