import { Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Code } from '@/components/Code';
import { Empty } from '@/components/Empty';

export function NoUsage(): ReactElement {
  return (
    <Empty title="Nothing was used in this time">
      <Text c="dimmed">A minute of usage appears here soon after it is over. The same from a terminal:</Text>
      <Code code="modelrocket usage --by day" language="bash" what="the command" />
    </Empty>
  );
}
