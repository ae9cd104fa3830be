import { Badge, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Loaded } from '@/components/Loaded';
import { Panel } from '@/components/Panel';
import type { Schema } from '@/lib/api/client';

import { blastRadiusQuery } from '../queries';
import classes from './Placement.module.css';
import { counted, reachWords } from './sharing';

/** Whom the model could disturb, and who could disturb it. */
export function BlastRadiusPanel({ modelId }: { modelId: string }): ReactElement {
  const radius = useQuery(blastRadiusQuery(modelId));
  return (
    <Panel
      title="Blast radius"
      description="Who shares hosts with it. Each account’s models run in processes of their own, and hosts are dealt out so that few models have the same ones."
    >
      <Loaded query={radius}>
        {(found) => (
          <>
            <Text>{reachWords(found)}</Text>
            {found.sharing.length > 0 && (
              <ul className={classes.groups} aria-label="Models by how many hosts they share">
                {found.sharing.map((group) => (
                  <Group key={group.hosts} group={group} hosts={found.hosts} />
                ))}
              </ul>
            )}
          </>
        )}
      </Loaded>
    </Panel>
  );
}

/** Models that share so many of its hosts: a filled square for each that is shared. */
function Group({ group, hosts }: { group: Schema['Sharing']; hosts: number }): ReactElement {
  return (
    <li className={classes.group}>
      <div>
        <div className={classes.squares} aria-hidden="true">
          {Array.from({ length: hosts }, (_, index) => (
            <span
              key={index}
              className={classes.square}
              {...(index < group.hosts ? { 'data-shared': true } : {})}
            />
          ))}
        </div>
        <Text size="sm" mt={4}>
          {group.hosts} of {counted(hosts, 'host')}
        </Text>
      </div>
      <div>
        <Text size="sm" fw={600}>
          {counted(group.own.length + group.others, 'model')}
        </Text>
        <ul className={classes.names}>
          {group.own.map((name) => (
            <li key={name}>
              <Badge variant="default" tt="none" fw={500}>
                {name}
              </Badge>
            </li>
          ))}
          {group.others > 0 && (
            <li>
              <Badge variant="light" color="gray" tt="none" fw={500}>
                {group.others} of other accounts
              </Badge>
            </li>
          )}
        </ul>
      </div>
    </li>
  );
}
