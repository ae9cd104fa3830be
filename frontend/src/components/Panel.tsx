import { Group, Paper, Text, Title } from '@mantine/core';
import type { ReactElement, ReactNode } from 'react';

interface Props {
  title?: string;
  description?: ReactNode;
  actions?: ReactNode;
  children: ReactNode;
}

/** A part of a page, with an h2 of its own. */
export function Panel({ title, description, actions, children }: Props): ReactElement {
  return (
    <Paper withBorder p="md" component="section" {...(title ? { 'aria-label': title } : {})}>
      {(title ?? actions) && (
        <Group justify="space-between" mb={description ? 4 : 'sm'}>
          {title && <Title order={2}>{title}</Title>}
          {actions}
        </Group>
      )}
      {description && (
        <Text size="sm" c="dimmed" mb="sm">
          {description}
        </Text>
      )}
      {children}
    </Paper>
  );
}
