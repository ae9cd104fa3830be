import { Alert, Button, Group, Stack, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { Code } from '@/components/Code';
import { ErrorPanel } from '@/components/ErrorPanel';
import { Panel } from '@/components/Panel';
import { api, call } from '@/lib/api/client';
import { useAttempt } from '@/lib/attempt';
import { TOKEN_VARIABLE } from '@/lib/snippets/call';

const BODY = { name: 'Code samples' };

/** The token that the samples read from the environment. One that is made here is shown once. */
export function TokenPanel({ modelId }: { modelId: string }): ReactElement {
  const queryClient = useQueryClient();
  const attempt = useAttempt();
  const made = useMutation({
    mutationFn: () =>
      call(
        api.POST('/v1/models/{model_id}/tokens', {
          params: { path: { model_id: modelId }, header: { 'Idempotency-Key': attempt(BODY) } },
          body: BODY,
        }),
      ),
    onSuccess: async () => {
      void queryClient.invalidateQueries({ queryKey: ['model', modelId, 'tokens'] });
      await queryClient.invalidateQueries({ queryKey: ['keys'] });
    },
    gcTime: 0, // it holds a secret
  });
  return (
    <Panel
      title="A token"
      description="The samples read it from the environment, so that it is in no file that you share."
    >
      <Stack gap="sm">
        {made.data ? (
          <Issued token={made.data.token} />
        ) : (
          <Code code={`export ${TOKEN_VARIABLE}=mr_…`} language="bash" what="the line that sets the token" />
        )}
        {made.error && <ErrorPanel error={made.error} title="No token was made" />}
        {!made.data && (
          <Group gap="sm">
            <Button variant="default" onClick={() => made.mutate()} loading={made.isPending}>
              Make a token for this model
            </Button>
            <Text size="sm" c="dimmed">
              Or use the one that the upload showed, or an <Link to="/keys">API key</Link> that may infer.
            </Text>
          </Group>
        )}
      </Stack>
    </Panel>
  );
}

function Issued({ token }: { token: string }): ReactElement {
  return (
    <>
      <Alert color="green" variant="light" title="Copy it now: it is shown this once" role="status">
        It may run this model and nothing else. You can revoke it under <Link to="/keys">API keys</Link>.
      </Alert>
      <Code code={`export ${TOKEN_VARIABLE}=${token}`} language="bash" what="the line that sets the token" />
    </>
  );
}
