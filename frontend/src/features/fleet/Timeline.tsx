import { Text, UnstyledButton } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { type ReactElement, useState } from 'react';

import { byDay, formatClock } from '@/lib/days';
import { modelsQuery } from '@/lib/models';

import { type Entry, type Line } from './decisions';
import classes from './fleet.module.css';

const LINES_MAX = 6;

/** Decisions along a line, under their days. */
export function Timeline({ found }: { found: readonly Entry[] }): ReactElement {
  return (
    <>
      {byDay(found).map(({ day, entries }) => (
        <section key={day} aria-label={day}>
          <Text size="sm" fw={600} c="dimmed" component="h3" className={classes.day ?? ''}>
            {day}
          </Text>
          <ol className={classes.timeline}>
            {entries.map((entry) => (
              <EntryItem key={entry.number} entry={entry} />
            ))}
          </ol>
        </section>
      ))}
    </>
  );
}

function EntryItem({ entry }: { entry: Entry }): ReactElement {
  const [opened, setOpened] = useState(false);
  const hidden = opened ? 0 : Math.max(0, entry.why.length - LINES_MAX);
  const shown = hidden > 0 ? entry.why.slice(0, LINES_MAX) : entry.why;
  return (
    <li className={classes.entry} data-kind={entry.why.at(-1)?.kind ?? entry.did[0]?.kind}>
      <time dateTime={entry.at} title={`Decision ${entry.number}`}>
        {formatClock(entry.at)}
      </time>
      <div>
        {shown.map((line) => (
          <Sentence key={line.text} line={line} />
        ))}
        {hidden > 0 && (
          <UnstyledButton className={classes.more ?? ''} onClick={() => setOpened(true)}>
            {hidden} more
          </UnstyledButton>
        )}
        {entry.did.length > 0 && (
          <Text size="xs" c="dimmed" mt={2}>
            {entry.did.map((line) => line.text).join(' · ')}
          </Text>
        )}
      </div>
    </li>
  );
}

/** With its model's name as a link, where the model is one's own. */
function Sentence({ line }: { line: Line }): ReactElement {
  const own = useQuery(modelsQuery).data?.some((model) => model.id === line.model?.id) ?? false;
  const name = line.model?.name;
  const at = name ? line.text.indexOf(name) : -1;
  if (!own || !line.model || !name || at < 0) return <Text size="sm">{line.text}</Text>;
  return (
    <Text size="sm">
      {line.text.slice(0, at)}
      <Link to="/models/$modelId/placement" params={{ modelId: line.model.id }}>
        {name}
      </Link>
      {line.text.slice(at + name.length)}
    </Text>
  );
}
