import { Text } from '@mantine/core';
import type { ReactElement } from 'react';

import classes from './fleet.module.css';

/** What the blocks mean. */
export function Legend(): ReactElement {
  return (
    <div className={classes.legend}>
      <Text size="xs" c="dimmed">
        A block is a version of a model; its area is its memory, next to the others on that host.
      </Text>
      <ul>
        <Sample state="ready">loaded</Sample>
        <Sample state="loading">loading</Sample>
        <Sample state="stored">on disk</Sample>
        <Sample state="assigned">on its way</Sample>
        <Sample state="failed">failed</Sample>
      </ul>
    </div>
  );
}

function Sample({ state, children }: { state: string; children: string }): ReactElement {
  return (
    <li>
      <span className={classes.sample} data-state={state} aria-hidden="true" />
      {children}
    </li>
  );
}
