import { Alert, Button, Group, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { ApiError } from '@/lib/api/client';

interface Props {
  error: unknown;
  title?: string;
  onRetry?: () => void;
  retrying?: boolean;
}

/** An error in words, with the request id that leads to it in the logs. */
export function ErrorPanel({
  error,
  title = 'This did not work',
  onRetry,
  retrying = false,
}: Props): ReactElement {
  const requestId = error instanceof ApiError ? error.requestId : null;
  return (
    <Alert color="red" title={title} role="alert" variant="light">
      <Text size="sm">{error instanceof Error ? error.message : 'Something unexpected was thrown.'}</Text>
      {requestId !== null && (
        <Text size="xs" c="dimmed" mt={4}>
          Request id: <code>{requestId}</code>
        </Text>
      )}
      {onRetry && (
        <Group mt="sm">
          <Button size="xs" variant="default" onClick={onRetry} loading={retrying}>
            Try again
          </Button>
        </Group>
      )}
    </Alert>
  );
}
