import { Button, Group, Modal, Stack, TextInput } from '@mantine/core';
import { type ReactElement, type ReactNode, useState } from 'react';

import { useFocusBack } from '@/lib/useFocusBack';

import { ErrorPanel } from './ErrorPanel';

interface Props {
  opened: boolean;
  title: string;
  /** What will happen, and whether it can be undone. */
  children: ReactNode;
  /** The button: the verb of what is done. */
  action: string;
  /** What has to be typed before it is done. */
  typed?: string;
  pending: boolean;
  error: Error | null;
  onConfirm: () => void;
  onClose: () => void;
}

/** Asks before something that cannot be undone. It stays open, with the reason, where that fails. */
export function Confirm(props: Props): ReactElement {
  return (
    <Modal opened={props.opened} onClose={props.onClose} title={props.title}>
      <Body {...props} />
    </Modal>
  );
}

function Body({ children, action, typed, pending, error, onConfirm, onClose }: Props): ReactElement {
  useFocusBack();
  const [text, setText] = useState('');
  const allowed = typed === undefined || text === typed;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (allowed) onConfirm();
      }}
    >
      <Stack>
        <div>{children}</div>
        {typed !== undefined && (
          <TextInput
            label={`Type ${typed} to confirm`}
            value={text}
            onChange={(event) => setText(event.currentTarget.value)}
            autoComplete="off"
            styles={{ label: { overflowWrap: 'anywhere' } }}
            data-autofocus
          />
        )}
        {error && <ErrorPanel error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" color="red.9" loading={pending} disabled={!allowed}>
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
