import { Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Code } from '@/components/Code';
import { Empty } from '@/components/Empty';

const CREATE = `modelrocket keys create ci --scope models:read --scope models:write --expires-in 30
modelrocket keys create website --model digits --requests-per-second 20`;

export function NoKeys(): ReactElement {
  return (
    <Empty title="No keys yet">
      <Text c="dimmed">
        Make one here to deploy from Python or to call the API. Once there is one, the command line makes
        further ones:
      </Text>
      <Code code={CREATE} language="bash" what="commands that make keys" />
    </Empty>
  );
}
