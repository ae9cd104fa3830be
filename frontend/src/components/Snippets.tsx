import { Button, Group, Stack, Tabs, Text } from '@mantine/core';
import { type ReactElement, useMemo } from 'react';

import { Code } from '@/components/Code';
import { formatBytes } from '@/lib/format';
import { type Call, REQUEST_FILE, TOKEN_VARIABLE } from '@/lib/snippets/call';
import { isLarge, requestText, samples } from '@/lib/snippets/samples';

import { download } from '@/lib/download';

/** One call of a model in every language, to copy and run. */
export function Snippets({ call }: { call: Call }): ReactElement {
  const written = useMemo(() => samples(call), [call]);
  return (
    <Stack gap="sm">
      {isLarge(call) && <RequestFile text={requestText(call)} />}
      <Tabs defaultValue="curl" keepMounted={false}>
        <Tabs.List aria-label="Languages">
          {written.map(({ id, label }) => (
            <Tabs.Tab key={id} value={id}>
              {label}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        {written.map(({ id, label, language, file, needs, code }) => (
          <Tabs.Panel key={id} value={id} pt="sm">
            <Code code={code} language={language} what={`the ${label} sample`} />
            <Text size="sm" c="dimmed" mt={6}>
              Save it as <code>{file}</code>. Needs {needs}; the token is read from{' '}
              <code>{TOKEN_VARIABLE}</code>.
            </Text>
          </Tabs.Panel>
        ))}
      </Tabs>
    </Stack>
  );
}

function RequestFile({ text }: { text: string }): ReactElement {
  return (
    <Group gap="sm">
      <Text size="sm">
        These inputs are long ({formatBytes(text.length)}), so the samples read them from{' '}
        <code>{REQUEST_FILE}</code>.
      </Text>
      <Button
        size="compact-sm"
        variant="default"
        onClick={() => download(REQUEST_FILE, text, 'application/json')}
      >
        Download {REQUEST_FILE}
      </Button>
    </Group>
  );
}
