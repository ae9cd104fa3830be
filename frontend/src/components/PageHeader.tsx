import { Group, Stack, Text, Title } from '@mantine/core';
import { type ReactElement, type ReactNode, useEffect } from 'react';

interface Props {
  title: string;
  /** Beside the title. */
  badge?: ReactNode;
  /** Above the title: where one is. */
  above?: ReactNode;
  description?: ReactNode;
  actions?: ReactNode;
}

/** The one h1 of a page; also the document's title. */
export function PageHeader({ title, badge, above, description, actions }: Props): ReactElement {
  useEffect(() => {
    document.title = `${title} · ModelRocket`;
  }, [title]);
  return (
    <Stack gap={4} mb="lg">
      {above}
      <Group justify="space-between" align="center">
        <Group gap="sm">
          <Title order={1}>{title}</Title>
          {badge}
        </Group>
        {actions && <Group gap="xs">{actions}</Group>}
      </Group>
      {description && (
        <Text c="dimmed" maw="48rem">
          {description}
        </Text>
      )}
    </Stack>
  );
}
