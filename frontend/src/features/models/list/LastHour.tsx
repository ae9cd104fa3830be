import { Text } from '@mantine/core';
import { useInViewport } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Sparkline } from '@/components/Sparkline';
import { formatCount } from '@/lib/format';
import type { Model } from '@/lib/models';

import { modelHourQuery } from '../queries';
import { minutes } from './hour';
import type { Asked } from './listing';
import classes from './ModelList.module.css';

interface Props {
  model: Model;
  asks: ReadonlyMap<string, Asked> | undefined;
}

/** Requests and errors of the last hour. The line is asked for only where there is one to see. */
export function LastHour({ model, asks }: Props): ReactElement {
  const asked = asks?.get(model.id);
  if (asked === undefined) return <Text size="sm">–</Text>;
  if (asked.requests === 0) {
    return (
      <Text size="sm" c="dimmed">
        No requests
      </Text>
    );
  }
  return (
    <div className={classes.hour}>
      <Line model={model} />
      <div>
        <Text size="sm">{counted(asked.requests, 'request')}</Text>
        {asked.errors > 0 && (
          <Text size="xs" c="var(--bad)">
            {counted(asked.errors, 'error')}
          </Text>
        )}
      </div>
    </div>
  );
}

function Line({ model }: { model: Model }): ReactElement {
  const { ref, inViewport } = useInViewport<HTMLDivElement>();
  const { data } = useQuery({ ...modelHourQuery(model.id), enabled: inViewport });
  const line = data && minutes(data);
  return (
    <div ref={ref}>
      {line ? (
        <Sparkline
          values={line.requests}
          errors={line.errors}
          label={`Requests of ${model.name} by minute in the last hour`}
        />
      ) : (
        <Sparkline values={[0, 0]} label="Not known yet" />
      )}
    </div>
  );
}

function counted(count: number, noun: string): string {
  return `${formatCount(count)} ${count === 1 ? noun : `${noun}s`}`;
}
