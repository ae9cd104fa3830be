import { Button, NativeSelect, Paper, Text, TextInput } from '@mantine/core';
import { useMediaQuery } from '@mantine/hooks';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import type { Model } from '@/lib/models';

import { hourQuery } from '../queries';
import { askedByModel, isOrder, listed, type Order, ORDERS } from './listing';
import { ModelCards } from './ModelCards';
import classes from './ModelList.module.css';
import { ModelTable } from './ModelTable';

const CHOICES = Object.entries(ORDERS).map(([value, label]) => ({ value, label }));

/** More would make the page slow. */
const AT_ONCE = 100;

/** The models of an account: to search, to sort, to open. */
export function ModelList({ models }: { models: readonly Model[] }): ReactElement {
  const [search, setSearch] = useState('');
  const [order, setOrder] = useState<Order>('newest');
  const [most, setMost] = useState(AT_ONCE);
  const narrow = useMediaQuery('(max-width: 48em)', false, { getInitialValueInEffect: false });
  const { data: hour } = useQuery(hourQuery);
  const asks = hour && askedByModel(hour.models, models);
  const shown = listed(models, asks ?? new Map(), { search, order });
  const Shape = narrow ? ModelCards : ModelTable;
  return (
    <>
      <div className={classes.tools}>
        <TextInput
          label="Search"
          placeholder="Name or id"
          type="search"
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
        />
        <NativeSelect
          label="Sort by"
          data={CHOICES}
          value={order}
          onChange={({ currentTarget: { value } }) => isOrder(value) && setOrder(value)}
        />
        <Text size="sm" c="dimmed" className={classes.count ?? ''} role="status">
          {counted(shown.length, models.length)}
        </Text>
      </div>
      {shown.length > 0 ? (
        <>
          <Shape models={shown.slice(0, most)} asks={asks} />
          {shown.length > most && (
            <Button mt="md" variant="default" onClick={() => setMost(most + AT_ONCE)}>
              Show {Math.min(AT_ONCE, shown.length - most)} more
            </Button>
          )}
        </>
      ) : (
        <Paper withBorder p="xl">
          <Text c="dimmed">No model has “{search.trim()}” in its name or id.</Text>
        </Paper>
      )}
    </>
  );
}

function counted(shown: number, all: number): string {
  if (shown < all) return `${shown} of ${all} models`;
  return all === 1 ? '1 model' : `${all} models`;
}
