import { Stack, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { type ReactElement, useMemo } from 'react';

import { Empty } from '@/components/Empty';
import { Loaded } from '@/components/Loaded';
import { Panel } from '@/components/Panel';
import { Snippets } from '@/components/Snippets';
import { type Callable, exampleQuery } from '@/lib/examples';
import { type Model, modelQuery } from '@/lib/models';

import { TokenPanel } from './TokenPanel';

const route = getRouteApi('/inside/models/$modelId/code');

/** How to call a model from one's own programs, with its id, its address and inputs that it answers. */
export function SamplesPage(): ReactElement {
  const { modelId } = route.useParams();
  const query = useQuery(modelQuery(modelId));
  return (
    <Loaded query={query}>
      {(model) =>
        model.active === null ? <NothingToCall /> : <Active model={model} number={model.active} />
      }
    </Loaded>
  );
}

function NothingToCall(): ReactElement {
  return (
    <Empty title="Nothing to call yet">
      <Text c="dimmed">
        The samples are made from the version that has the traffic. As soon as one is ready, they are here.
      </Text>
    </Empty>
  );
}

function Active({ model, number }: { model: Model; number: number }): ReactElement {
  const query = useQuery(exampleQuery(model.id, number));
  return (
    <Stack>
      <TokenPanel modelId={model.id} />
      <Loaded query={query}>
        {(callable) => (callable ? <Samples model={model} callable={callable} /> : <NothingToCall />)}
      </Loaded>
    </Stack>
  );
}

const SOURCES: Readonly<Record<Callable['source'], string>> = {
  sample: 'The inputs are a row that came along with the model, so it answers them.',
  zeros: 'The inputs are zeros and empty texts, which it was tried with: put your own in their place.',
  'made up': 'The inputs are zeros and empty texts of the right shape: put your own in their place.',
};

function Samples({ model, callable }: { model: Model; callable: Callable }): ReactElement {
  const call = useMemo(
    () => ({
      modelId: model.id,
      url: model.url,
      inputs: callable.inputs,
      outputs: callable.signature.outputs.map(({ name }) => name),
    }),
    [model.id, model.url, callable],
  );
  return (
    <Panel
      title="Call it"
      description={`${SOURCES[callable.source]} Every sample prints the answer as JSON, or what went wrong.`}
    >
      <Snippets call={call} />
    </Panel>
  );
}
