import { Button, Group, Paper, Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useMemo, useState } from 'react';

import type { Key } from '@/lib/keys';
import { modelsQuery } from '@/lib/models';

import { ALL, type Filters, matching, WORKING } from './filters';
import { KeyFilters } from './KeyFilters';
import type { Doing } from './KeysPage';
import { KeyTable } from './KeyTable';

interface Props {
  keys: readonly Key[];
  onDo: (doing: Doing) => void;
}

/** All keys, those that work first in sight. */
export function KeyList({ keys, onDo }: Props): ReactElement {
  const models = useQuery(modelsQuery);
  const [filters, setFilters] = useState<Filters>(WORKING);
  const names = useMemo(() => new Map(models.data?.map(({ id, name }) => [id, name])), [models.data]);
  const shown = matching(keys, filters);
  return (
    <div>
      <KeyFilters keys={keys} names={names} shown={shown.length} filters={filters} onChange={setFilters} />
      {shown.length > 0 ? (
        <KeyTable keys={shown} names={names} onDo={onDo} />
      ) : (
        <Paper withBorder p="lg">
          <Group justify="space-between">
            <Text c="dimmed">No key is like this.</Text>
            <Button variant="default" size="xs" onClick={() => setFilters(ALL)}>
              Show all {keys.length}
            </Button>
          </Group>
        </Paper>
      )}
    </div>
  );
}
