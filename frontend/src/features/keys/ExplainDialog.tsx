import { Modal, SegmentedControl, Stack } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import type { Key } from '@/lib/keys';
import { useFocusBack } from '@/lib/useFocusBack';

import { ExplainOwn } from './ExplainOwn';
import { ExplainPasted } from './ExplainPasted';

interface Props {
  chosen: Key | null;
  keys: readonly Key[];
  onClose: () => void;
}

const WAYS: { value: 'own' | 'pasted'; label: string }[] = [
  { value: 'own', label: 'One of yours' },
  { value: 'pasted', label: 'Paste a key' },
];

/** What a key may do, and why it is refused. */
export function ExplainDialog({ chosen, keys, onClose }: Props): ReactElement {
  useFocusBack();
  const [way, setWay] = useState<'own' | 'pasted'>(keys.length > 0 ? 'own' : 'pasted');
  return (
    <Modal opened onClose={onClose} title="Explain a key" size="lg">
      <Stack>
        <SegmentedControl aria-label="Which key" data={WAYS} value={way} onChange={setWay} fullWidth />
        {way === 'own' ? <ExplainOwn chosen={chosen} keys={keys} /> : <ExplainPasted />}
      </Stack>
    </Modal>
  );
}
