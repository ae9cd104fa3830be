import { Button, Center, Container, Loader, Stack, Text, Title } from '@mantine/core';
import { Link, type ErrorComponentProps, useRouter } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';

export function PagePending(): ReactElement {
  return (
    <Center h="50vh">
      <Loader aria-label="Loading" />
    </Center>
  );
}

/** What is shown for a page that broke, or whose script did not arrive. */
export function PageError({ error, reset }: ErrorComponentProps): ReactElement {
  const router = useRouter();
  const retry = () => {
    reset();
    void router.invalidate();
  };
  return (
    <Container size="sm" py="xl">
      <ErrorPanel error={error} onRetry={retry} />
    </Container>
  );
}

export function NotFoundPage(): ReactElement {
  return (
    <Container size="sm" py="xl" component="main">
      <Stack align="start">
        <Title>There is no such page</Title>
        <Text>The address may be mistyped, or what was here is gone.</Text>
        <Button renderRoot={(props) => <Link to="/" {...props} />}>To the start</Button>
      </Stack>
    </Container>
  );
}
