import { Button, Group, Input, SegmentedControl, Select, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { Panel } from '@/components/Panel';
import { Waiting } from '@/components/Waiting';
import { modelsQuery } from '@/lib/models';

import { counted, entries, type Kind, modelsIn } from './decisions';
import classes from './fleet.module.css';
import { Timeline } from './Timeline';
import { useDecisions } from './useDecisions';

const KINDS: { value: Kind | 'all'; label: string }[] = [
  { value: 'all', label: 'All' },
  { value: 'capacity', label: 'Size' },
  { value: 'placement', label: 'Models' },
  { value: 'hosts', label: 'Hosts' },
];

/** What the coordinator did and why. */
export function DecisionsPanel(): ReactElement {
  const [kind, setKind] = useState<Kind | 'all'>('all');
  const [model, setModel] = useState('');
  const decisions = useDecisions(model);
  return (
    <Panel
      title="Decisions"
      description="What the coordinator changed and why, newest first. They are kept for eight days."
    >
      <Group align="end" gap="md" mb="md">
        <ModelFilter model={model} named={modelsIn(decisions.shown)} onChange={setModel} />
        <Input.Wrapper label="About" labelElement="div" labelProps={{ id: 'decision-kinds' }}>
          <div>
            <SegmentedControl
              aria-labelledby="decision-kinds"
              data={KINDS}
              value={model ? 'all' : kind}
              onChange={(value) => setKind(value)}
              disabled={model !== ''}
            />
          </div>
        </Input.Wrapper>
      </Group>
      <Found decisions={decisions} kind={model ? 'all' : kind} model={model} />
    </Panel>
  );
}

function ModelFilter({
  model,
  named,
  onChange,
}: {
  model: string;
  named: readonly { id: string; name: string }[];
  onChange: (model: string) => void;
}): ReactElement {
  const own = useQuery(modelsQuery).data ?? [];
  const names = new Map([...named, ...own].map((one) => [one.id, one.name]));
  return (
    <Select
      label="Model"
      placeholder="All models"
      data={[...names].map(([value, label]) => ({ value, label }))}
      value={model || null}
      onChange={(value) => onChange(value ?? '')}
      clearable
      clearButtonProps={{ 'aria-label': 'All models' }}
      searchable
      w="16rem"
      maw="100%"
    />
  );
}

function Found({
  decisions: { pages, shown, newer },
  kind,
  model,
}: {
  decisions: ReturnType<typeof useDecisions>;
  kind: Kind | 'all';
  model: string;
}): ReactElement {
  const found = entries(shown, { kind, model });
  if (pages.isPending) return <Waiting lines={6} />;
  if (pages.data === undefined) {
    return <ErrorPanel error={pages.error} onRetry={() => void pages.refetch()} />;
  }
  return (
    <>
      <div aria-live="polite" className={classes.newer}>
        {newer > 0 && (
          <Button
            size="compact-sm"
            variant="light"
            loading={pages.isRefetching}
            onClick={() => void pages.refetch()}
          >
            Show {counted(newer, 'newer decision')}
          </Button>
        )}
      </div>
      {found.length > 0 ? (
        <Timeline found={found} />
      ) : (
        <Nothing read={shown.length} all={!pages.hasNextPage} />
      )}
      {pages.hasNextPage && (
        <Button
          mt="md"
          variant="default"
          loading={pages.isFetchingNextPage}
          onClick={() => void pages.fetchNextPage()}
        >
          Show older decisions
        </Button>
      )}
    </>
  );
}

function Nothing({ read, all }: { read: number; all: boolean }): ReactElement {
  if (read === 0) {
    return (
      <Text size="sm" c="dimmed">
        Nothing was decided yet. Upload a model, and its place on the hosts is told here with the reason.
      </Text>
    );
  }
  return (
    <Text size="sm" c="dimmed">
      Of the {read} decisions read so far none is about that.{all ? '' : ' Older ones may be.'}
    </Text>
  );
}
