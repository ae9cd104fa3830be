import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Code } from '@/components/Code';
import { Empty } from '@/components/Empty';
import { exampleQuery } from '@/lib/examples';
import { type Model, modelsQuery } from '@/lib/models';
import { samples } from '@/lib/snippets/samples';

import type { Range } from './ranges';

const UPLOAD = `import modelrocket
modelrocket.upload(model, "digits", np.float32, (None, 64)).predict(rows)`;

/** How to make something to see here. */
export function NoRequests({ range, modelId }: { range: Range; modelId: string | null }): ReactElement {
  const models = useQuery(modelsQuery);
  const model = models.data?.find(
    ({ id, active }) => active !== null && (modelId === null || id === modelId),
  );
  const when = range.label === 'Last hour' ? 'the last hour' : `the last ${range.label}`;
  return (
    <Empty title={`Nothing was asked in ${when}`}>
      <Text c="dimmed">
        Requests appear here within seconds.{' '}
        {model ? `Ask ${model.name} something:` : 'Deploy a model and ask it:'}
      </Text>
      {model?.active ? (
        <Call model={model} active={model.active} />
      ) : (
        <Code code={UPLOAD} language="python" what="the lines" />
      )}
    </Empty>
  );
}

function Call({ model, active }: { model: Model; active: number }): ReactElement | null {
  const { data: example } = useQuery(exampleQuery(model.id, active));
  if (!example) return null;
  const outputs = example.signature.outputs.map(({ name }) => name);
  const [curl] = samples({ modelId: model.id, url: model.url, inputs: example.inputs, outputs });
  return curl ? <Code code={curl.code} language="bash" what="the call" /> : null;
}
