import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { Loaded } from '@/components/Loaded';
import { api, call } from '@/lib/api/client';
import type { Key } from '@/lib/keys';

import { Explanation } from './Explanation';

interface Props {
  chosen: Key | null;
  keys: readonly Key[];
}

export function ExplainOwn({ chosen, keys }: Props): ReactElement {
  const [id, setId] = useState(chosen?.id ?? null);
  return (
    <>
      <Select
        label="Key"
        placeholder="Choose one"
        data={keys.map((key) => ({ value: key.id, label: labelOf(key) }))}
        value={id}
        onChange={setId}
        searchable
      />
      {id !== null && <Found id={id} />}
    </>
  );
}

function Found({ id }: { id: string }): ReactElement {
  const explained = useQuery({
    queryKey: ['keys', id, 'explained'],
    queryFn: () => call(api.POST('/v1/keys/explain', { body: { id, key: null } })),
  });
  return <Loaded query={explained}>{(found) => <Explanation found={found} />}</Loaded>;
}

function labelOf(key: Key): string {
  const about = [key.name && key.hint, key.state !== 'live' && key.state].filter(Boolean).join(', ');
  return (key.name || key.hint) + (about && ` (${about})`);
}
