import { Group, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import classes from './fleet.module.css';

const FULL = 0.9;

/** A bar to scale, with the same in words over it. */
export function Meter({
  label,
  share,
  words,
}: {
  label: string;
  share: number;
  words: string;
}): ReactElement {
  const percent = Math.min(100, share * 100);
  return (
    <div className={classes.meter}>
      <Group justify="space-between" gap="xs" wrap="nowrap">
        <Text size="xs" c="dimmed">
          {label}
        </Text>
        <Text size="xs" className={classes.figures ?? ''}>
          {words}
        </Text>
      </Group>
      <div className={classes.track} aria-hidden="true">
        {percent > 0 && (
          <div className={classes.fill} data-full={share > FULL} style={{ width: `${percent}%` }} />
        )}
      </div>
    </div>
  );
}
