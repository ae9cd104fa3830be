import { Select, Text, TextInput } from '@mantine/core';
import type { ReactElement } from 'react';

import { formatTime } from '@/lib/format';

import { DAY_MS, DAYS_MAX, type Draft, endOf, type Expiry, expiryOf } from './draft';
import classes from './KeysPage.module.css';

const CHOICES: readonly { value: Expiry; label: string }[] = [
  { value: '7', label: 'After 7 days' },
  { value: '30', label: 'After 30 days' },
  { value: '90', label: 'After 90 days' },
  { value: '365', label: 'After a year' },
  { value: 'date', label: 'On a day …' },
  { value: 'never', label: 'Never' },
];

interface Props {
  draft: Draft;
  now: number;
  onChange: (part: Partial<Draft>) => void;
  error: string | undefined;
}

export function ExpiryFields({ draft, now, onChange, error }: Props): ReactElement {
  const expiry = expiryOf(draft);
  return (
    <div>
      <div className={classes.fields}>
        <Select
          label="Expires"
          data={CHOICES}
          value={expiry}
          onChange={(chosen) => onChange({ expiry: chosen })}
          allowDeselect={false}
        />
        {expiry === 'date' && (
          <TextInput
            type="date"
            label="Day"
            value={draft.date}
            onChange={(event) => onChange({ date: event.currentTarget.value })}
            min={isoDay(now + DAY_MS)}
            max={isoDay(now + DAYS_MAX * DAY_MS)}
            error={error}
          />
        )}
      </div>
      <Text size="xs" c="dimmed" mt={6}>
        {told(draft, now)}
      </Text>
    </div>
  );
}

function told(draft: Draft, now: number): string {
  const end = endOf(draft, now);
  if (end !== null)
    return `It is refused from ${formatTime(new Date(end).toISOString())} on. Rotating it gives it as long again.`;
  if (expiryOf(draft) === 'date') return 'Choose the day from which it is refused.';
  return draft.kind === 'api_key'
    ? 'It works until somebody revokes it. Better let an API key expire, and rotate it.'
    : 'It works until somebody revokes it, or its model is deleted.';
}

/** As a date field has it. */
function isoDay(at: number): string {
  return new Date(at).toLocaleDateString('sv');
}
