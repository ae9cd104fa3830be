import { Button, Group, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { ErrorPanel } from '@/components/ErrorPanel';
import { api, call, type Schema } from '@/lib/api/client';

import { Explanation } from './Explanation';

const KEY_LENGTH_MAX = 200;

/** What is pasted is in the state of this form alone, and gone with it. */
export function ExplainPasted(): ReactElement {
  const [pasted, setPasted] = useState('');
  const [found, setFound] = useState<Schema['ExplainedKey'] | null>(null);
  const explain = useMutation({
    mutationFn: async () =>
      setFound(await call(api.POST('/v1/keys/explain', { body: { id: null, key: pasted.trim() } }))),
    gcTime: 0,
  });
  const change = (text: string) => {
    setPasted(text);
    setFound(null);
    explain.reset();
  };
  return (
    <form
      autoComplete="off"
      onSubmit={(event) => {
        event.preventDefault();
        explain.mutate();
      }}
    >
      <TextInput
        label="Key"
        description="It goes to this server only, and is forgotten when you close this."
        placeholder="mr_…"
        value={pasted}
        onChange={(event) => change(event.currentTarget.value)}
        maxLength={KEY_LENGTH_MAX}
        autoComplete="off"
        spellCheck={false}
        data-autofocus
      />
      <Group justify="flex-end" my="sm">
        <Button type="submit" loading={explain.isPending} disabled={pasted.trim() === ''}>
          Explain
        </Button>
      </Group>
      {explain.error && <ErrorPanel error={explain.error} />}
      {found && <Explanation found={found} />}
    </form>
  );
}
