import { Select, Stack, Text } from '@mantine/core';
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { type ReactElement, useState } from 'react';

import { Empty } from '@/components/Empty';
import { Loaded } from '@/components/Loaded';
import { exampleQuery } from '@/lib/examples';
import { type Model, modelQuery } from '@/lib/models';

import { Workbench } from './Workbench';

const route = getRouteApi('/inside/models/$modelId/playground');

/** A model tried by hand: a form from its signature, its answer, and the same call as code. */
export function PlaygroundPage(): ReactElement {
  const { modelId } = route.useParams();
  const query = useQuery(modelQuery(modelId));
  return (
    <Loaded query={query}>
      {(model) =>
        model.active === null ? (
          <NothingToRun />
        ) : (
          <Active key={model.id} model={model} number={model.active} />
        )
      }
    </Loaded>
  );
}

function NothingToRun(): ReactElement {
  return (
    <Empty title="Nothing to run yet">
      <Text c="dimmed">
        The form is made from the version that has the traffic. As soon as one is ready, you can try it here.
      </Text>
    </Empty>
  );
}

function Active({ model, number }: { model: Model; number: number }): ReactElement {
  const [chosen, setVersion] = useState<number | null>(null);
  const version = chosen === number || chosen === model.candidate?.version ? chosen : null;
  const query = useQuery({
    ...exampleQuery(model.id, version ?? number),
    placeholderData: keepPreviousData, // another version with the same inputs goes on with what is filled in
  });
  return (
    <Stack>
      {model.candidate && (
        <VersionChoice active={number} candidate={model.candidate} version={version} onVersion={setVersion} />
      )}
      <Loaded query={query}>
        {(callable) =>
          callable ? (
            <Workbench
              key={JSON.stringify(callable.signature.inputs)}
              model={model}
              callable={callable}
              version={version}
            />
          ) : (
            <NothingToRun />
          )
        }
      </Loaded>
    </Stack>
  );
}

interface ChoiceProps {
  active: number;
  candidate: NonNullable<Model['candidate']>;
  version: number | null;
  onVersion: (version: number | null) => void;
}

/** While one version is on trial beside another, either can be asked by itself. */
function VersionChoice({ active, candidate, version, onVersion }: ChoiceProps): ReactElement {
  return (
    <Select
      label="Version"
      maw="28rem"
      data={[
        {
          value: '',
          label: `As callers get it: ${active}, and ${candidate.version} for ${candidate.percent} %`,
        },
        { value: String(active), label: `Version ${active}, which has the traffic` },
        { value: String(candidate.version), label: `Version ${candidate.version}, which is on trial` },
      ]}
      value={version === null ? '' : String(version)}
      onChange={(chosen) => onVersion(chosen ? Number(chosen) : null)}
      allowDeselect={false}
    />
  );
}
