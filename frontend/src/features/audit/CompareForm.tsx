import { Button, Group, NumberInput, Stack, Text, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';

import classes from './audit.module.css';
import { entryAt } from './queries';
import { compared } from './verifying';

const HASH = /^\s*[0-9a-fA-F]{64}\s*$/;

/** Whether the log still has what somebody kept of it. */
export function CompareForm({ account }: { account: string }): ReactElement {
  const [number, setNumber] = useState<number | string>('');
  const [hash, setHash] = useState('');
  const comparison = useMutation({
    mutationFn: async (asked: number) => compared(asked, hash, await entryAt(asked, account)),
  });
  const ready = typeof number === 'number' && HASH.test(hash);
  return (
    <details className={classes.disclosure}>
      <summary>Compare with a hash that you kept</summary>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (ready) comparison.mutate(number);
        }}
      >
        <Stack gap="sm" mt="sm">
          <Group align="end" gap="sm">
            <NumberInput
              label="Entry"
              value={number}
              onChange={setNumber}
              min={1}
              allowDecimal={false}
              hideControls
              w="7rem"
            />
            <TextInput
              label="Its hash"
              placeholder="64 hexadecimal digits"
              value={hash}
              onChange={(event) => setHash(event.currentTarget.value)}
              spellCheck={false}
              autoComplete="off"
              className={classes.grow ?? ''}
            />
            <Button type="submit" variant="default" disabled={!ready} loading={comparison.isPending}>
              Compare
            </Button>
          </Group>
          {comparison.isError && <ErrorPanel error={comparison.error} title="It was not compared" />}
          {comparison.isSuccess && (
            <Text size="sm" role="status" className={comparison.data.ok ? classes.good : classes.bad}>
              {comparison.data.text}
            </Text>
          )}
        </Stack>
      </form>
    </details>
  );
}
