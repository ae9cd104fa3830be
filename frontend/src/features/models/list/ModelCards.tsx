import { Paper, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { formatBytes } from '@/lib/format';
import type { Model } from '@/lib/models';

import type { Asked } from './listing';
import { LastHour } from './LastHour';
import classes from './ModelList.module.css';
import { ModelName, ServingState, Versions } from './parts';

interface Props {
  models: readonly Model[];
  asks: ReadonlyMap<string, Asked> | undefined;
}

/** The same as the table, for narrow screens. */
export function ModelCards({ models, asks }: Props): ReactElement {
  return (
    <ul className={classes.cards} aria-label="Your models">
      {models.map((model) => (
        <li key={model.id}>
          <Paper withBorder p="md" className={classes.card ?? ''}>
            <div className={classes.head}>
              <ModelName model={model} />
              <ServingState model={model} />
            </div>
            <LastHour model={model} asks={asks} />
            <Facts model={model} />
          </Paper>
        </li>
      ))}
    </ul>
  );
}

function Facts({ model }: { model: Model }): ReactElement {
  const { latest, hosts } = model;
  return (
    <Text component="div" size="sm" c="dimmed" className={classes.facts ?? ''}>
      {model.active !== null && (
        <span>
          Version <Versions model={model} />
        </span>
      )}
      {latest && <span>{formatBytes(latest.bytes)}</span>}
      {hosts !== null && <span>{hosts === 1 ? '1 host' : `${hosts} hosts`}</span>}
      <Ago at={latest?.created_at ?? model.created_at} />
    </Text>
  );
}
