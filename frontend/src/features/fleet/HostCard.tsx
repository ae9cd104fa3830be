import { Badge, Group, Skeleton, Text, Tooltip } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { formatBytes } from '@/lib/format';

import { condition, silence, slotsInWords } from './capacity';
import { counted } from './decisions';
import classes from './fleet.module.css';
import { Meter } from './Meter';
import { ModelBlocks } from './ModelBlocks';
import { type Host, hostQuery } from './queries';

interface Props {
  host: Host;
  /** Id of the model that is pointed at, on whatever host. */
  pointedAt: string | null;
  onPoint: (modelId: string | null) => void;
}

/** One host: how it is, what it has left, and its models. */
export function HostCard({ host, pointedAt, onPoint }: Props): ReactElement {
  return (
    <section className={classes.host} aria-label={host.id} data-dead={host.heard_of === 'dead'}>
      <Group justify="space-between" gap="xs">
        <Text fw={650} component="h3" truncate>
          {host.id}
        </Text>
        <ConditionBadge host={host} />
      </Group>
      <Text size="xs" c="dimmed" mb="sm">
        Heard of {silence(host.silent_seconds)}
      </Text>
      <Meter
        label="Memory"
        share={host.memory_bytes_max > 0 ? host.memory_bytes_used / host.memory_bytes_max : 0}
        words={`${formatBytes(host.memory_bytes_used)} of ${formatBytes(host.memory_bytes_max)}`}
      />
      <Meter
        label="Slots"
        share={host.slots > 0 ? host.in_flight / host.slots : 0}
        words={slotsInWords(host)}
      />
      <Models host={host} pointedAt={pointedAt} onPoint={onPoint} />
      <Text size="xs" c="dimmed" mt={6}>
        {counted(host.versions_assigned, 'version')}, {host.versions_ready} loaded
      </Text>
    </section>
  );
}

function Models({ host, pointedAt, onPoint }: Props): ReactElement {
  const held = useQuery(hostQuery(host.id));
  if (held.isPending) return <Skeleton className={classes.blocks ?? ''} aria-busy="true" />;
  if (held.data === undefined) return <ErrorPanel error={held.error} onRetry={() => void held.refetch()} />;
  return (
    <ModelBlocks
      versions={held.data.versions}
      total={host.versions_assigned}
      pointedAt={pointedAt}
      onPoint={onPoint}
    />
  );
}

function ConditionBadge({ host }: { host: Host }): ReactElement {
  const { word, color, meaning } = condition(host);
  const badge = (
    <Badge color={color} variant="light" tt="none">
      {word}
    </Badge>
  );
  if (meaning === null) return badge;
  return (
    <Tooltip label={meaning}>
      <span tabIndex={0} aria-label={`${word}: ${meaning}`} role="note">
        {badge}
      </span>
    </Tooltip>
  );
}
