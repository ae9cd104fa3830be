import { Paper, Text } from '@mantine/core';
import type { ReactElement, ReactNode } from 'react';

import classes from './Stat.module.css';

/** A figure and what it counts. */
export function Stat({
  label,
  value,
  hint,
}: {
  label: string;
  value: ReactNode;
  hint?: ReactNode;
}): ReactElement {
  return (
    <Paper withBorder p="md">
      <Text size="sm" c="dimmed">
        {label}
      </Text>
      <Text className={classes.value ?? ''}>{value}</Text>
      {hint && (
        <Text size="xs" c="dimmed">
          {hint}
        </Text>
      )}
    </Paper>
  );
}

/** Figures in a row that wraps. */
export function Stats({ children }: { children: ReactNode }): ReactElement {
  return <div className={classes.row}>{children}</div>;
}
