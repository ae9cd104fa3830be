import { Select } from '@mantine/core';
import type { ReactElement } from 'react';

import type { Key } from '@/lib/keys';

import { type Filters, KINDS } from './filters';
import classes from './KeysPage.module.css';

interface Props {
  keys: readonly Key[];
  names: ReadonlyMap<string, string>;
  shown: number;
  filters: Filters;
  onChange: (filters: Filters) => void;
}

const WORKING = [
  { value: 'working', label: 'That work' },
  { value: 'ended', label: 'Revoked or expired' },
  { value: 'all', label: 'All' },
] as const;

export function KeyFilters({ keys, names, shown, filters, onChange }: Props): ReactElement {
  const kinds = KINDS.filter(({ value }) => keys.some(({ kind }) => kind === value));
  const models = [...new Set(keys.flatMap(({ model_id: id }) => id ?? []))];
  return (
    <div className={classes.filters}>
      <Select
        label="State"
        data={WORKING}
        value={filters.working}
        onChange={(working) => onChange({ ...filters, working: working ?? 'all' })}
        allowDeselect={false}
      />
      <Select
        label="Kind"
        placeholder="Any"
        data={kinds}
        value={filters.kind}
        onChange={(kind) => onChange({ ...filters, kind })}
        clearable
      />
      <Select
        label="Model"
        placeholder="Any"
        data={models.map((id) => ({ value: id, label: names.get(id) ?? id }))}
        value={filters.modelId}
        onChange={(modelId) => onChange({ ...filters, modelId })}
        clearable
        searchable
      />
      <span className={classes.count} role="status">
        {shown} of {keys.length}
      </span>
    </div>
  );
}
