import { Button, Text } from '@mantine/core';
import type { ReactElement, ReactNode } from 'react';

import { Copy } from '@/components/Copy';

import classes from './audit.module.css';
import type { AuditLine } from './queries';
import { actorInWords, outcomeExplained } from './words';

/** All that an entry says. */
export function EntryDetails({
  line,
  onObject,
}: {
  line: AuditLine;
  onObject: (id: string) => void;
}): ReactElement {
  const { object_id: objectId } = line;
  return (
    <dl className={classes.facts}>
      <Fact name="Entry">{line.number}</Fact>
      <Fact name="Time">{line.at}</Fact>
      <Fact name="Who">{actorInWords(line.actor)}</Fact>
      <Fact name="From">{line.address ?? 'no address: the platform did it by itself'}</Fact>
      <Fact name="Action">
        <code>{line.action}</code>
      </Fact>
      <Fact name="Outcome">{outcomeExplained(line)}</Fact>
      {objectId !== null && (
        <Fact name={`Id of the ${line.object_type}`}>
          <code>{objectId}</code>
          <Copy text={objectId} what="the id" />
          <Button size="compact-xs" variant="default" onClick={() => onObject(objectId)}>
            Only entries about this
          </Button>
        </Fact>
      )}
      <Fact name="Program">{line.user_agent ?? 'none said'}</Fact>
      {line.request_id !== null && (
        <Fact name="Request id">
          <code>{line.request_id}</code>
          <Copy text={line.request_id} what="the request id" />
        </Fact>
      )}
      <Fact name="Hash">
        <code>{line.hash}</code>
        <Copy text={line.hash} what="the hash" />
      </Fact>
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ReactNode }): ReactElement {
  return (
    <>
      <Text component="dt" size="xs" c="dimmed">
        {name}
      </Text>
      <Text component="dd" size="xs">
        {children}
      </Text>
    </>
  );
}
