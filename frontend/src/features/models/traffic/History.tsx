import { Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import type { Schema } from '@/lib/api/client';

import { changeWords, isAutomatic, whyWords } from './changes';
import classes from './History.module.css';

/** Who changed what, when and why. */
export function History({ changes }: { changes: readonly Schema['Change'][] }): ReactElement {
  if (changes.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        Nothing yet: the first version that is ready takes over by itself.
      </Text>
    );
  }
  return (
    <ol className={classes.history}>
      {changes.map((change) => (
        <li
          key={`${change.at} ${change.why}`}
          className={classes.change}
          data-bad={isAutomatic(change) || undefined}
        >
          <Text fw={600}>{changeWords(change)}</Text>
          {whyWords(change) && <Text size="sm">{whyWords(change)}</Text>}
          <Text size="sm" c="dimmed">
            <Ago at={change.at} />, by {change.by}
          </Text>
        </li>
      ))}
    </ol>
  );
}
