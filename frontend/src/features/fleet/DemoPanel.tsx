import { Anchor, Button, Group, Select, Stack, Text } from '@mantine/core';
import { notifications } from '@mantine/notifications';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { type ReactElement, useState } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { Loaded } from '@/components/Loaded';
import { Panel } from '@/components/Panel';
import { api, call, type Schema } from '@/lib/api/client';
import { formatShape } from '@/lib/format';
import { modelsQuery } from '@/lib/models';
import { siteQuery } from '@/lib/session';

/** Which model everybody may try on the landing page. */
export function DemoPanel(): ReactElement {
  const site = useQuery(siteQuery);
  return (
    <Panel
      title="Public demo"
      description="The model that visitors try on the landing page, without an account. It gets a token of its own, which is public, runs this model alone, and answers 30 requests a second of all visitors together."
    >
      <Loaded query={site}>{({ demo }) => <Choice demo={demo} />}</Loaded>
    </Panel>
  );
}

function Choice({ demo }: { demo: Schema['Demo'] | null }): ReactElement {
  const queryClient = useQueryClient();
  const models = useQuery(modelsQuery);
  const [chosen, setChosen] = useState<string | null>(null);
  const choose = useMutation({
    mutationFn: (modelId: string | null) =>
      call(api.PUT('/v1/operator/demo', { body: { model_id: modelId } })),
    onSuccess: (told) => {
      queryClient.setQueryData(siteQuery.queryKey, told);
      setChosen(null);
      notifications.show({
        color: 'green',
        message: told.demo ? `Visitors now try ${told.demo.name}.` : 'There is no demo any more.',
      });
    },
  });
  const others = (models.data ?? []).filter((model) => model.active !== null && model.id !== demo?.model_id);
  return (
    <Stack gap="sm">
      <Current demo={demo} />
      {models.isError && (
        <ErrorPanel
          error={models.error}
          title="Your models are not known"
          onRetry={() => void models.refetch()}
        />
      )}
      <Group align="end" gap="sm">
        <Select
          label={demo ? 'Another of your models' : 'One of your models'}
          placeholder={
            models.data && others.length === 0 ? 'There is no other with an active version' : 'Choose a model'
          }
          data={others.map((model) => ({ value: model.id, label: model.name }))}
          value={chosen}
          onChange={setChosen}
          searchable
          disabled={others.length === 0}
          w="18rem"
          maw="100%"
        />
        <Button
          disabled={chosen === null}
          loading={choose.isPending && choose.variables !== null}
          onClick={() => choose.mutate(chosen)}
        >
          Publish
        </Button>
        {demo && (
          <Button
            variant="default"
            loading={choose.isPending && choose.variables === null}
            onClick={() => choose.mutate(null)}
          >
            Take the demo away
          </Button>
        )}
      </Group>
      {choose.isError && <ErrorPanel error={choose.error} title="The demo stays as it is" />}
    </Stack>
  );
}

function Current({ demo }: { demo: Schema['Demo'] | null }): ReactElement {
  if (!demo) return <Text size="sm">No model is published: the landing page shows code alone.</Text>;
  return (
    <Text size="sm">
      <Anchor
        renderRoot={(props) => <Link to="/models/$modelId" params={{ modelId: demo.model_id }} {...props} />}
      >
        {demo.name}
      </Anchor>{' '}
      is published. It takes <code>{demo.input}</code>, {formatShape(demo.shape)}.{' '}
      <Anchor renderRoot={(props) => <Link to="/" {...props} />}>See the landing page</Anchor>
    </Text>
  );
}
