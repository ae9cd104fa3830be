import { Table, VisuallyHidden } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactElement, useState } from 'react';

import { Scroll } from '@/components/Scroll';
import { byDay } from '@/lib/days';
import { keyName, keysQuery } from '@/lib/keys';
import { modelsQuery } from '@/lib/models';

import classes from './audit.module.css';
import { AuditRow } from './AuditRow';
import type { AuditLine } from './queries';

const COLUMNS = 7;

interface Props {
  lines: readonly AuditLine[];
  /** Asks for the entries about this alone. */
  onObject: (id: string) => void;
}

/** Entries, each of which opens to all that is known of it. */
export function AuditTable({ lines, onObject }: Props): ReactElement {
  const names = useNames();
  const [opened, setOpened] = useState<ReadonlySet<number>>(new Set());
  const toggle = (number: number) => {
    const others = [...opened].filter((one) => one !== number);
    setOpened(new Set(opened.has(number) ? others : [...others, number]));
  };
  return (
    <Scroll label="Audit entries">
      <Table verticalSpacing="xs" highlightOnHover>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Time</Table.Th>
            <Table.Th scope="col">What</Table.Th>
            <Table.Th scope="col">On what</Table.Th>
            <Table.Th scope="col" className={classes.wide ?? ''}>
              Who
            </Table.Th>
            <Table.Th scope="col" className={classes.wide ?? ''}>
              From
            </Table.Th>
            <Table.Th scope="col">Outcome</Table.Th>
            <Table.Th scope="col">
              <VisuallyHidden>Details</VisuallyHidden>
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        {byDay(lines).map(({ day, entries }) => (
          <Table.Tbody key={day}>
            <Table.Tr className={classes.day ?? ''}>
              <Table.Th scope="rowgroup" colSpan={COLUMNS}>
                {day}
              </Table.Th>
            </Table.Tr>
            {entries.map((line) => (
              <AuditRow
                key={line.number}
                line={line}
                names={names}
                opened={opened.has(line.number)}
                onToggle={() => toggle(line.number)}
                onObject={onObject}
              />
            ))}
          </Table.Tbody>
        ))}
      </Table>
    </Scroll>
  );
}

/** Of what there is in one's own account, by id: models, and keys. */
function useNames(): ReadonlyMap<string, string> {
  const models = useQuery(modelsQuery).data ?? [];
  const keys = useQuery(keysQuery).data ?? [];
  return new Map([
    ...keys.map((key) => [key.id, keyName(key)] as const),
    ...models.map((model) => [model.id, model.name] as const),
  ]);
}
