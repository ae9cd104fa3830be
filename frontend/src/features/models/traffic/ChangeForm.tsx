import { Button, Group, NativeSelect, Stack, Text } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { notifications } from '@mantine/notifications';
import { type ReactElement, useState } from 'react';

import { Confirm } from '@/components/Confirm';
import { ErrorPanel } from '@/components/ErrorPanel';
import type { Schema } from '@/lib/api/client';
import type { Version } from '@/lib/models';

import { actionWords, changeOf, type Draft, eligible, firstDraft } from './draft';
import { ModeChoice } from './ModeChoice';
import { useChangeTraffic } from './mutations';
import { TrialFields } from './TrialFields';

interface Props {
  modelId: string;
  traffic: Schema['Traffic'];
  versions: readonly Version[];
}

/** Tries a version on some callers, in the shadow, or gives it everything. */
export function ChangeForm({ modelId, traffic, versions }: Props): ReactElement {
  const choices = eligible(versions, traffic);
  if (choices.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        There is no other version that is ready. Upload again under the same name with{' '}
        <code>activate=False</code>: it then waits here for you to try it.
      </Text>
    );
  }
  return <Form modelId={modelId} traffic={traffic} choices={choices} />;
}

interface FormProps {
  modelId: string;
  traffic: Schema['Traffic'];
  choices: readonly number[];
}

function Form({ modelId, traffic, choices }: FormProps): ReactElement {
  const [kept, setDraft] = useState(() => firstDraft(traffic, choices));
  const [asking, { open, close }] = useDisclosure(false);
  const change = useChangeTraffic(modelId);
  const draft = stillPossible(kept, choices);
  const set = (part: Partial<Draft>) => setDraft({ ...draft, ...part });
  const apply = () =>
    change.mutate(changeOf(draft), {
      onSuccess: () => {
        close();
        notifications.show({ message: doneWords(draft) });
      },
    });
  const submit = () => {
    change.reset();
    if (draft.mode === 'all') open();
    else apply();
  };
  return (
    <>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Stack>
          <NativeSelect
            label="Version"
            maw="14rem"
            data={choices.map((number) => ({ value: String(number), label: `Version ${number}` }))}
            value={String(draft.version)}
            onChange={(event) => set({ version: Number(event.currentTarget.value) })}
          />
          <ModeChoice mode={draft.mode} mayTry={traffic.active !== null} onChange={(mode) => set({ mode })} />
          {draft.mode !== 'all' && <TrialFields draft={draft} onChange={set} />}
          {change.error && !asking && <ErrorPanel error={change.error} />}
          <Submit draft={draft} candidate={traffic.candidate?.version ?? null} pending={change.isPending} />
        </Stack>
      </form>
      <Takeover
        opened={asking}
        version={draft.version}
        active={traffic.active}
        change={change}
        onConfirm={apply}
        onClose={close}
      />
    </>
  );
}

/** A version that was chosen may be gone by now. */
function stillPossible(draft: Draft, choices: readonly number[]): Draft {
  return choices.includes(draft.version) ? draft : { ...draft, version: choices[0] ?? 0 };
}

interface SubmitProps {
  draft: Draft;
  candidate: number | null;
  pending: boolean;
}

function Submit({ draft, candidate, pending }: SubmitProps): ReactElement {
  const all = draft.mode === 'all';
  return (
    <Group>
      <Button type="submit" loading={pending && !all}>
        {actionWords(draft, candidate)}
      </Button>
      {candidate !== null && !all && (
        <Text size="sm" c="dimmed">
          Another split is another trial: what was counted begins anew.
        </Text>
      )}
    </Group>
  );
}

interface TakeoverProps {
  opened: boolean;
  version: number;
  active: number | null;
  change: { isPending: boolean; error: Error | null };
  onConfirm: () => void;
  onClose: () => void;
}

function Takeover({ opened, version, active, change, onConfirm, onClose }: TakeoverProps): ReactElement {
  return (
    <Confirm
      opened={opened}
      title={`Give version ${version} all traffic?`}
      action={`Activate version ${version}`}
      pending={change.isPending}
      error={change.error}
      onConfirm={onConfirm}
      onClose={onClose}
    >
      <Text size="sm">
        As soon as hosts have loaded it, version {version} answers all callers
        {active === null ? '' : ` instead of version ${active}`}. No request fails during the switch, and you
        can roll back at any time.
      </Text>
    </Confirm>
  );
}

function doneWords({ mode, version }: Draft): string {
  return mode === 'all'
    ? `Version ${version} takes over once it is loaded.`
    : `Version ${version} is on trial.`;
}
