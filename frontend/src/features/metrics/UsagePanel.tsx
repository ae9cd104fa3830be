import { Button, Group, Pagination, Select, Text } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import { Panel } from '@/components/Panel';
import { download } from '@/lib/download';
import { formatExact } from '@/lib/format';

import { useNames } from './queries';
import { csvOf, grouped, type Part, type UsageLine } from './usage';
import { UsageTable } from './UsageTable';

const ROWS_A_PAGE = 50;
const GROUPS: readonly { value: string; label: string; parts: readonly Part[] }[] = [
  { value: 'model', label: 'By model', parts: ['model'] },
  { value: 'version', label: 'By version', parts: ['version'] },
  { value: 'key', label: 'By key', parts: ['key'] },
  { value: 'day', label: 'By day', parts: ['day'] },
  { value: 'day-model', label: 'By day and model', parts: ['day', 'model'] },
  { value: 'all', label: 'Every line', parts: ['day', 'version', 'key'] },
];

interface Props {
  lines: readonly UsageLine[];
  cut: boolean;
  since: string;
}

export function UsagePanel({ lines, cut, since }: Props): ReactElement {
  const names = useNames();
  const [value, setValue] = useState('day-model');
  const [page, setPage] = useState(1);
  const parts = GROUPS.find((group) => group.value === value)?.parts ?? [];
  const groups = grouped(lines, parts);
  const pages = Math.ceil(groups.length / ROWS_A_PAGE);
  const current = Math.min(page, pages);
  return (
    <Panel
      title="Usage"
      actions={
        <Group gap="xs">
          <Select
            size="xs"
            aria-label="Added up"
            data={GROUPS.map(({ value: id, label }) => ({ value: id, label }))}
            value={value}
            onChange={(chosen) => {
              setValue(chosen ?? value);
              setPage(1);
            }}
            allowDeselect={false}
          />
          <Button
            size="xs"
            variant="default"
            onClick={() =>
              download(`modelrocket-usage-${since}.csv`, csvOf(lines, names), 'text/csv;charset=utf-8')
            }
          >
            Download CSV
          </Button>
        </Group>
      }
    >
      {cut && (
        <Text size="sm" mb="sm">
          These are the {formatExact(lines.length)} oldest lines of this time: there are more, which{' '}
          <code>modelrocket usage</code> shows.
        </Text>
      )}
      <UsageTable
        groups={groups.slice((current - 1) * ROWS_A_PAGE, current * ROWS_A_PAGE)}
        parts={parts}
        names={names}
      />
      {pages > 1 && (
        <Pagination
          mt="md"
          size="sm"
          total={pages}
          value={current}
          onChange={setPage}
          getControlProps={(control) => ({ 'aria-label': `${control} page` })}
          getItemProps={(number) => ({ 'aria-label': `Page ${number}` })}
        />
      )}
    </Panel>
  );
}
