import { Badge, Button, Table, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { formatClock } from '@/lib/days';
import { formatTime } from '@/lib/format';

import classes from './audit.module.css';
import { EntryDetails } from './EntryDetails';
import type { AuditLine } from './queries';
import { actionInWords, actorInWords, modelOf, objectInWords, outcomeInWords } from './words';

const COLORS = { ok: 'green', refused: 'yellow', failed: 'red' } as const;
const COLUMNS = 7;

interface Props {
  line: AuditLine;
  /** Of the models and keys that there are, by id. */
  names: ReadonlyMap<string, string>;
  opened: boolean;
  onToggle: () => void;
  onObject: (id: string) => void;
}

/** One entry, and below it the rest of it. */
export function AuditRow({ line, names, opened, onToggle, onObject }: Props): ReactElement {
  return (
    <>
      <Table.Tr>
        <Table.Td className={classes.when ?? ''}>
          <time dateTime={line.at} title={formatTime(line.at)}>
            {formatClock(line.at)}
          </time>
        </Table.Td>
        <Table.Th scope="row" className={classes.what ?? ''}>
          {actionInWords(line.action)}
        </Table.Th>
        <Table.Td className={classes.object ?? ''}>
          <ObjectCell line={line} names={names} />
        </Table.Td>
        <Table.Td className={classes.who ?? ''}>{actorInWords(line.actor)}</Table.Td>
        <Table.Td className={classes.from ?? ''}>{line.address ?? '–'}</Table.Td>
        <Table.Td>
          <Badge color={COLORS[line.outcome]} variant="light" tt="none" miw="max-content">
            {outcomeInWords(line.outcome)}
          </Badge>
        </Table.Td>
        <Table.Td ta="right">
          <Toggle number={line.number} opened={opened} onToggle={onToggle} />
        </Table.Td>
      </Table.Tr>
      {opened && (
        <Table.Tr id={detailsId(line.number)} className={classes.details ?? ''}>
          <Table.Td colSpan={COLUMNS}>
            <EntryDetails line={line} onObject={onObject} />
          </Table.Td>
        </Table.Tr>
      )}
    </>
  );
}

function Toggle({
  number,
  opened,
  onToggle,
}: {
  number: number;
  opened: boolean;
  onToggle: () => void;
}): ReactElement {
  const word = opened ? 'Less' : 'Details';
  return (
    <Button
      size="compact-xs"
      variant="default"
      onClick={onToggle}
      aria-expanded={opened}
      aria-controls={opened ? detailsId(number) : undefined}
      aria-label={`${word} of entry ${number}`}
    >
      {word}
    </Button>
  );
}

function detailsId(number: number): string {
  return `entry-${number}`;
}

function ObjectCell({ line, names }: Pick<Props, 'line' | 'names'>): ReactElement {
  const modelId = modelOf(line);
  const name = names.get(line.object_id ?? '');
  const words = objectInWords(line, name);
  if (modelId !== null && name !== undefined) {
    return (
      <Link to="/models/$modelId" params={{ modelId }}>
        {words}
      </Link>
    );
  }
  return words === line.object_id ? (
    <Text component="code" size="xs" title={words} className={classes.id ?? ''}>
      {words}
    </Text>
  ) : (
    <>{words}</>
  );
}
