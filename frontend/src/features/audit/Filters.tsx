import { Group, Input, Pill, SegmentedControl, Select, TextInput } from '@mantine/core';
import type { ReactElement } from 'react';

import type { Picked } from './filters';
import type { Asked } from './queries';
import { ACTIONS } from './words';

const OUTCOMES: { value: Picked['outcome']; label: string }[] = [
  { value: 'all', label: 'All' },
  { value: 'ok', label: 'Done' },
  { value: 'refused', label: 'Refused' },
  { value: 'failed', label: 'Failed' },
];
const CHOICES = Object.entries(ACTIONS)
  .map(([value, label]) => ({ value, label }))
  .sort((a, b) => a.label.localeCompare(b.label));

type OfTheApi = Omit<Asked, 'account'>;

interface Props {
  asked: OfTheApi;
  onAsk: (asked: OfTheApi) => void;
  picked: Picked;
  onPick: (picked: Picked) => void;
  /** How many entries are loaded: the second row of filters is about these alone. */
  loaded: number;
}

/** What the API picks out of the whole log, and what is picked out of the loaded entries. */
export function Filters({ asked, onAsk, picked, onPick, loaded }: Props): ReactElement {
  return (
    <Group align="end" gap="md" mb="md">
      <Select
        label="Action"
        placeholder="All actions"
        data={CHOICES}
        value={asked.action || null}
        onChange={(action) => onAsk({ ...asked, action: action ?? '' })}
        clearable
        clearButtonProps={{ 'aria-label': 'All actions' }}
        searchable
        w="16rem"
        maw="100%"
      />
      <TextInput
        label={`Find in the ${loaded} loaded`}
        placeholder="Actor, address, name, id …"
        value={picked.text}
        onChange={(event) => onPick({ ...picked, text: event.currentTarget.value })}
        w="16rem"
        maw="100%"
      />
      <Input.Wrapper label="Outcome, of the loaded" labelElement="div" labelProps={{ id: 'outcomes' }}>
        <div>
          <SegmentedControl
            aria-labelledby="outcomes"
            data={OUTCOMES}
            value={picked.outcome}
            onChange={(outcome) => onPick({ ...picked, outcome })}
          />
        </div>
      </Input.Wrapper>
      {asked.object !== '' && (
        <Pill
          size="lg"
          withRemoveButton
          onRemove={() => onAsk({ ...asked, object: '' })}
          removeButtonProps={{ 'aria-label': 'Entries about anything', 'aria-hidden': false, tabIndex: 0 }}
        >
          About {asked.object}
        </Pill>
      )}
    </Group>
  );
}
