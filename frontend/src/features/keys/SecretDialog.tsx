import {
  Alert,
  Button,
  CopyButton,
  Group,
  Modal,
  SegmentedControl,
  Stack,
  Text,
  TextInput,
} from '@mantine/core';
import { useBlocker } from '@tanstack/react-router';
import { type ReactElement, useState } from 'react';

import { Code } from '@/components/Code';
import { formatTime } from '@/lib/format';
import { type Key, keyName } from '@/lib/keys';
import { useFocusBack } from '@/lib/useFocusBack';

import classes from './KeysPage.module.css';
import type { Issued } from './mutations';
import { usesOf } from './uses';

interface Props {
  issued: Issued;
  /** The secret is gone from then on. */
  onClose: () => void;
}

/** The one moment a secret is seen. Nothing but its button closes it, and leaving the page is asked about. */
export function SecretDialog({ issued, onClose }: Props): ReactElement {
  useFocusBack();
  const { key, secret, old } = issued;
  useBlocker({
    shouldBlockFn: () => !window.confirm('The secret is shown only now. Leave without it?'),
    enableBeforeUnload: true,
  });
  return (
    <Modal
      opened
      onClose={onClose}
      title={`The secret of ${keyName(key)}`}
      size="xl"
      closeOnClickOutside={false}
      closeOnEscape={false}
      withCloseButton={false}
    >
      <Stack>
        <Alert color="orange" variant="light" title="It is shown only this once">
          Keep it where your other secrets are. Only its hash is stored here: nobody can show it again, but it
          can be rotated.
        </Alert>
        <div className={classes.pair}>
          <TextInput
            className={classes.secret ?? ''}
            label="Secret"
            value={secret}
            readOnly
            autoComplete="off"
            spellCheck={false}
            onFocus={(event) => event.currentTarget.select()}
            data-autofocus
          />
          <CopyButton value={secret} timeout={2000}>
            {({ copied, copy }) => (
              <Button onClick={copy} aria-label="Copy the secret" miw="6rem">
                <span aria-live="polite">{copied ? 'Copied' : 'Copy'}</span>
              </Button>
            )}
          </CopyButton>
        </div>
        {old && <Old old={old} />}
        <HowToUse apiKey={key} secret={secret} />
        <Group justify="flex-end">
          <Button onClick={onClose}>I have kept it</Button>
        </Group>
      </Stack>
    </Modal>
  );
}

function Old({ old }: { old: Key }): ReactElement {
  const ends = old.expires_at;
  const going = ends !== null && old.state === 'rotated';
  return (
    <Text size="sm">
      {going
        ? `The old one, ${old.hint}, keeps working until ${formatTime(ends)}. Change it where it is used before then.`
        : `The old one, ${old.hint}, is refused from now on.`}
    </Text>
  );
}

function HowToUse({ apiKey, secret }: { apiKey: Key; secret: string }): ReactElement {
  const uses = usesOf(apiKey, secret, window.location.origin);
  const [label, setLabel] = useState(uses[0]?.label ?? '');
  const use = uses.find((one) => one.label === label);
  return (
    <Stack gap="xs">
      <Group justify="space-between">
        <Text fw={600}>Use it at once</Text>
        <SegmentedControl
          size="xs"
          aria-label="How to use it"
          data={uses.map((one) => one.label)}
          value={label}
          onChange={setLabel}
        />
      </Group>
      {use && (
        <>
          <Code code={use.code} language={use.language} what={`the ${use.label} line`} />
          <Text size="sm" c="dimmed">
            {use.note}
          </Text>
        </>
      )}
    </Stack>
  );
}
