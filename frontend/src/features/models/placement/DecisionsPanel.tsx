import { Button, Text } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { ErrorPanel } from '@/components/ErrorPanel';
import { Panel } from '@/components/Panel';
import { Waiting } from '@/components/Waiting';
import type { Schema } from '@/lib/api/client';

import { decisionsQuery } from '../queries';
import classes from './Placement.module.css';

/** What the coordinator decided about the model, and why. */
export function DecisionsPanel({ modelId }: { modelId: string }): ReactElement {
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } =
    useInfiniteQuery(decisionsQuery(modelId));
  const decisions = data?.pages.flatMap((page) => page.decisions);
  return (
    <Panel
      title="Decisions"
      description="What the coordinator did with its copies, and why, the newest first."
    >
      {isPending && <Waiting lines={3} />}
      {decisions && <Decisions decisions={decisions} />}
      {error && <ErrorPanel error={error} onRetry={() => void refetch()} />}
      {hasNextPage && (
        <Button mt="md" variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>
          Show earlier ones
        </Button>
      )}
    </Panel>
  );
}

function Decisions({ decisions }: { decisions: readonly Schema['ModelDecision'][] }): ReactElement {
  if (decisions.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        Nothing was decided about it yet.
      </Text>
    );
  }
  return (
    <ol className={classes.decisions}>
      {decisions.map(({ number, at, reasons }) => (
        <li key={number} className={classes.decision}>
          <Text size="sm" c="dimmed">
            <Ago at={at} />
          </Text>
          <ul className={classes.reasons}>
            {reasons.map((reason) => (
              <li key={reason}>
                <Text size="sm">{reason}</Text>
              </li>
            ))}
          </ul>
        </li>
      ))}
    </ol>
  );
}
