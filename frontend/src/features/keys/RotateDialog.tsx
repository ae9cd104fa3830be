import { Button, Group, Modal, Radio, Stack, Text } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { formatAgo } from '@/lib/format';
import { type Key, keyName } from '@/lib/keys';
import { useFocusBack } from '@/lib/useFocusBack';

import classes from './KeysPage.module.css';
import { type Issued, useRotateKey } from './mutations';

const OVERLAPS = [
  { seconds: 86_400, label: 'For 24 hours', means: 'Time to change it where it is used.' },
  { seconds: 3_600, label: 'For an hour', means: 'One place to change, and you are there.' },
  { seconds: 604_800, label: 'For 7 days', means: 'Many places, or other people’s.' },
  { seconds: 0, label: 'Not at all', means: 'It may have leaked: refused within five seconds.' },
] as const;

interface Props {
  keyInfo: Key;
  onClose: () => void;
  onIssued: (issued: Issued) => void;
}

export function RotateDialog({ keyInfo, onClose, onIssued }: Props): ReactElement {
  useFocusBack();
  const [overlap, setOverlap] = useState('86400');
  const rotate = useRotateKey(keyInfo, { onIssued });
  return (
    <Modal opened onClose={onClose} title={`Rotate ${keyName(keyInfo)}`}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          rotate.mutate(Number(overlap));
        }}
      >
        <Stack>
          <Text size="sm">
            You get a new secret with the same rights, and for as long again. The one that is there,{' '}
            {keyInfo.hint},{' '}
            {keyInfo.last_used_at ? `was last used ${formatAgo(keyInfo.last_used_at)}.` : 'was never used.'}
          </Text>
          <Radio.Group label="How long the old one still works" value={overlap} onChange={setOverlap}>
            <div className={classes.choices} style={{ marginTop: 8 }}>
              {OVERLAPS.map(({ seconds, label, means }) => (
                <Radio key={seconds} value={String(seconds)} label={label} description={means} />
              ))}
            </div>
          </Radio.Group>
          {rotate.error && <ErrorPanel error={rotate.error} />}
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={rotate.isPending}>
              Rotate
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
