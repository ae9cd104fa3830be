import { Button, List, Text } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import { Panel } from '@/components/Panel';

import classes from './fleet.module.css';
import { HoldingsTable } from './HoldingsTable';
import { HostCard } from './HostCard';
import { Legend } from './Legend';
import type { Fleet } from './queries';

const HOSTS_AT_ONCE = 12;

/** Every host as a column, with its models as blocks. */
export function HostsPanel({ fleet }: { fleet: Fleet }): ReactElement {
  const [count, setCount] = useState(HOSTS_AT_ONCE);
  const [pointedAt, setPointedAt] = useState<string | null>(null);
  const shown = fleet.hosts.slice(0, count);
  return (
    <Panel title="Hosts">
      <Why fleet={fleet} />
      {shown.length > 0 && <Legend />}
      <div className={classes.hosts}>
        {shown.map((host) => (
          <HostCard key={host.id} host={host} pointedAt={pointedAt} onPoint={setPointedAt} />
        ))}
        {fleet.starting
          .filter((id) => !fleet.hosts.some((host) => host.id === id))
          .map((id) => (
            <StartingCard key={id} id={id} bootSeconds={fleet.boot_seconds} />
          ))}
      </div>
      {fleet.hosts.length === 0 && fleet.starting.length === 0 && <NoHosts />}
      {fleet.hosts.length > count && (
        <Button mt="md" variant="default" onClick={() => setCount(count + HOSTS_AT_ONCE)}>
          Show {Math.min(HOSTS_AT_ONCE, fleet.hosts.length - count)} more of {fleet.hosts.length} hosts
        </Button>
      )}
      {shown.length > 0 && <HoldingsTable hosts={shown} />}
    </Panel>
  );
}

function Why({ fleet }: { fleet: Fleet }): ReactElement | null {
  const sentences = fleet.why.map((reason) => reason.text);
  if (fleet.ending.length > 0) sentences.push(`May be stopped: ${fleet.ending.join(', ')}.`);
  if (sentences.length === 0) return null;
  return (
    <div className={classes.why}>
      <Text size="sm" fw={600} component="h3">
        Why so many
      </Text>
      {sentences.length === 1 ? (
        <Text size="sm">{sentences[0]}</Text>
      ) : (
        <List size="sm">
          {sentences.map((text) => (
            <List.Item key={text}>{text}</List.Item>
          ))}
        </List>
      )}
    </div>
  );
}

function StartingCard({ id, bootSeconds }: { id: string; bootSeconds: number | null }): ReactElement {
  return (
    <section className={classes.starting} aria-label={id}>
      <Text fw={650} component="h3">
        {id}
      </Text>
      <Text size="sm" c="dimmed">
        It starts.{bootSeconds !== null && ` A host takes about ${Math.round(bootSeconds)} s.`}
      </Text>
    </section>
  );
}

function NoHosts(): ReactElement {
  return (
    <Text c="dimmed">
      There is no host, which costs nothing. The first request for a model asks for one: whoever sent it is
      told when to come back. A floor is set with <code>hosts_min</code> in <code>MODELROCKET_POLICY</code>.
    </Text>
  );
}
