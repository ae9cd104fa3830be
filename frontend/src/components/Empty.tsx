import { Paper, Stack, Text, Title } from '@mantine/core';
import type { ReactElement, ReactNode } from 'react';

/** What is shown where nothing is yet: what would be here, and how to get it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }): ReactElement {
  return (
    <Paper withBorder p="xl">
      <Stack gap="sm" align="start">
        <Title order={2}>{title}</Title>
        {typeof children === 'string' ? <Text c="dimmed">{children}</Text> : children}
      </Stack>
    </Paper>
  );
}
