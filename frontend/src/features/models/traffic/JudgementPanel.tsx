import { Alert, Badge, Progress, Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import type { Schema } from '@/lib/api/client';
import { formatExact } from '@/lib/format';

import { judge, type Judged, type Verdict } from './judge';
import classes from './JudgementPanel.module.css';

/** How the candidate stands against its limits, live. */
export function JudgementPanel({ candidate }: { candidate: Schema['Candidate'] }): ReactElement {
  const { version, counts, limits } = candidate;
  return (
    <Panel
      title={`Trial of version ${version}`}
      description="Beyond one of its limits it is taken away by itself, within seconds, and the history says why."
    >
      {counts ? (
        <JudgementTable judged={judge(counts, limits)} />
      ) : (
        <Alert color="orange" variant="light" title="The counts cannot be read now">
          The trial goes on. They are asked for again by themselves.
        </Alert>
      )}
    </Panel>
  );
}

function JudgementTable({ judged }: { judged: readonly Judged[] }): ReactElement {
  return (
    <Scroll label="Judgement">
      <Table verticalSpacing="sm" miw="40rem">
        <caption>
          <VisuallyHidden>The candidate against its limits</VisuallyHidden>
        </caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">What is judged</Table.Th>
            <Table.Th scope="col">Now</Table.Th>
            <Table.Th scope="col">At most</Table.Th>
            <Table.Th scope="col">Seen</Table.Th>
            <Table.Th scope="col">Verdict</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {judged.map((one) => (
            <Row key={one.what} one={one} />
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}

const VERDICTS: Readonly<Record<Verdict, { color: string; words: string }>> = {
  counting: { color: 'gray', words: 'still counting' },
  within: { color: 'green', words: 'within the limit' },
  beyond: { color: 'red', words: 'beyond the limit' },
};

function Row({ one }: { one: Judged }): ReactElement {
  const { color, words } = VERDICTS[one.verdict];
  return (
    <Table.Tr>
      <Table.Th scope="row" fw={500}>
        {one.label}
      </Table.Th>
      <Table.Td fw={600}>{one.value === null ? '–' : amount(one, one.value)}</Table.Td>
      <Table.Td>{amount(one, one.limit)}</Table.Td>
      <Table.Td>
        <Seen one={one} />
      </Table.Td>
      <Table.Td>
        <Badge color={color} variant="light" tt="none">
          {words}
        </Badge>
      </Table.Td>
    </Table.Tr>
  );
}

function Seen({ one: { seen, needed, what } }: { one: Judged }): ReactElement {
  const noun = what === 'answers' ? 'compared' : 'runs';
  if (seen >= needed) return <>{`${formatExact(seen)} ${noun}`}</>;
  return (
    <div className={classes.seen}>
      <Text size="sm">
        {formatExact(seen)} of {formatExact(needed)} {noun}
      </Text>
      <Progress value={(100 * seen) / needed} size="xs" aria-label={`${noun} until it is judged`} />
    </div>
  );
}

function amount({ what }: Judged, value: number): string {
  const shown = Number(value.toPrecision(3)).toLocaleString('en');
  return what === 'time' ? `${shown} times` : `${shown} %`;
}
