import { Text } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { Panel } from '@/components/Panel';
import { Waiting } from '@/components/Waiting';
import type { Model } from '@/lib/models';

import { decisionsQuery } from '../queries';
import classes from './Placement.module.css';
import { counted } from './sharing';

/** On how many hosts, and on which. */
export function CopiesPanel({ model }: { model: Model }): ReactElement {
  const { data, error, isPending, refetch } = useInfiniteQuery(decisionsQuery(model.id));
  const hosts = data?.pages[0]?.hosts;
  return (
    <Panel
      title="Copies"
      description="A host keeps the active version in memory and answers from there. The coordinator says which hosts do."
    >
      {isPending && <Waiting lines={1} />}
      {!hosts && error && <ErrorPanel error={error} onRetry={() => void refetch()} />}
      {hosts && (
        <>
          <Text>{copiesWords(model, hosts.length)}</Text>
          {hosts.length > 0 && (
            <ul className={classes.hosts} aria-label="Hosts that are to have it">
              {hosts.map((host) => (
                <li key={host} className={classes.host}>
                  {host}
                </li>
              ))}
            </ul>
          )}
        </>
      )}
    </Panel>
  );
}

function copiesWords({ active, hosts: loaded }: Model, placed: number): string {
  if (active === null) return 'No version answers, so no host keeps one.';
  if (placed === 0)
    return 'No host has it now. It is loaded when somebody asks for it: the first caller waits.';
  const now =
    loaded === null
      ? ''
      : ` It is loaded on ${loaded === placed ? 'all of them' : counted(loaded, 'host')} now.`;
  return `Version ${active} is placed on ${counted(placed, 'host')}.${now}`;
}
