import { Button, Group, Modal, NumberInput, SegmentedControl, Stack, TextInput } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { useAccount } from '@/lib/session';
import { useFocusBack } from '@/lib/useFocusBack';

import { bodyOf, type Draft, problemsOf, RATE_MAX } from './draft';
import { ExpiryFields } from './ExpiryFields';
import { ModelField } from './ModelField';
import { type Issued, useCreateKey } from './mutations';
import { presetsOf } from './scopes';
import { ScopeFields } from './ScopeFields';

interface Props {
  onClose: () => void;
  onIssued: (issued: Issued) => void;
}

const NAME_LENGTH_MAX = 100;
const KINDS = [
  { value: 'api_key', label: 'API key' },
  { value: 'model_token', label: 'Model token' },
] as const;

/** What is filled in stays where making the key fails. */
export function CreateKeyDialog({ onClose, onIssued }: Props): ReactElement {
  useFocusBack();
  const own = useAccount().scopes;
  const [now] = useState(() => Date.now());
  const [draft, setDraft] = useState<Draft>(() => emptyDraft(presetsOf(own)[0]?.scopes ?? []));
  const [tried, setTried] = useState(false);
  const create = useCreateKey({ onIssued });
  const found = problemsOf(draft, now);
  const problems = tried ? found : {};
  const change = (part: Partial<Draft>) => setDraft({ ...draft, ...part });
  const submit = () => {
    setTried(true);
    if (Object.keys(found).length === 0) create.mutate(bodyOf(draft, now));
  };
  return (
    <Modal opened onClose={onClose} title="Create a key" size="lg">
      <form
        autoComplete="off"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <Stack>
          <SegmentedControl
            aria-label="Kind"
            data={[...KINDS]}
            value={draft.kind}
            onChange={(kind) => change({ kind })}
            fullWidth
          />
          <TextInput
            label="Name"
            description="For you to know it by: where it is used, such as website or CI."
            value={draft.name}
            onChange={(event) => change({ name: event.currentTarget.value })}
            maxLength={NAME_LENGTH_MAX}
            autoComplete="off"
            data-autofocus
          />
          {draft.kind === 'api_key' ? (
            <ScopeFields
              own={own}
              scopes={draft.scopes}
              onChange={(scopes) => change({ scopes })}
              error={problems.scopes}
            />
          ) : (
            <ModelField
              modelId={draft.modelId}
              onChange={(modelId) => change({ modelId })}
              error={problems.modelId}
            />
          )}
          <ExpiryFields draft={draft} now={now} onChange={change} error={problems.date} />
          <NumberInput
            label="Own limit, in requests a second"
            description="Beside the account’s, which always holds. Empty for none."
            value={draft.rate}
            onChange={(rate) => change({ rate: typeof rate === 'number' ? rate : '' })}
            min={1}
            max={RATE_MAX}
            clampBehavior="none"
            error={problems.rate}
          />
          {create.error && <ErrorPanel error={create.error} title="No key was made" />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={create.isPending}>
              Create
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

function emptyDraft(scopes: Draft['scopes']): Draft {
  return { kind: 'api_key', name: '', scopes, modelId: null, expiry: null, date: '', rate: '' };
}
