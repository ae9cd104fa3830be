import { Stack, Tabs, Text } from '@mantine/core';
import { type ReactElement, useMemo } from 'react';

import { Code } from '@/components/Code';
import { Panel } from '@/components/Panel';
import type { Tensor } from '@/lib/examples';
import { JSON_DIALECT, print } from '@/lib/snippets/printing';

import { outputsOf } from './answers';
import type { Answered } from './inferring';
import { OutputView } from './OutputView';
import { Timings } from './Timings';

/** What the model said, who said it, and where the time went. */
export function AnswerPanel({
  answer,
  outputs,
}: {
  answer: Answered;
  outputs: readonly Tensor[];
}): ReactElement {
  const shown = useMemo(() => outputsOf(answer.result, outputs), [answer.result, outputs]);
  return (
    <Panel title="Answer">
      <Stack>
        <Tabs defaultValue="values" keepMounted={false}>
          <Tabs.List aria-label="The answer">
            <Tabs.Tab value="values">Values</Tabs.Tab>
            <Tabs.Tab value="json">Raw JSON</Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="values" pt="md">
            <Stack gap="lg">
              {shown.map((output) => (
                <OutputView key={output.name} {...output} />
              ))}
            </Stack>
          </Tabs.Panel>
          <Tabs.Panel value="json" pt="md">
            <Code code={print(answer.result, JSON_DIALECT)} language="json" what="the answer" />
          </Tabs.Panel>
        </Tabs>
        <Timings header={answer.serverTiming} totalMs={answer.totalMs} />
        <Text size="sm" c="dimmed">
          Version {answer.version} answered. Request id: <code>{answer.requestId}</code>
        </Text>
      </Stack>
    </Panel>
  );
}
