import { Button, FileButton, Group, Text, Textarea } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import { formatBytes, formatExact } from '@/lib/format';

import { type EditorProps, forgetChoice } from './editing';
import classes from './editors.module.css';
import { columnsOf, fromRows, rowsOf } from './forms';
import { parseTable, tableText } from './tables';
import { kindOf } from './values';

/** A longer text is read and not shown: a box that long would only hang. */
const SHOWN_LENGTH_MAX = 200_000;

/** Rows by paste or from a file. */
export function TableEditor({ field: { tensor }, value, onValue, onProblem }: EditorProps): ReactElement {
  const [text, setText] = useState(() => tableText(rowsOf(value)));
  const rows = rowsOf(value);
  const change = (typed: string) => {
    setText(typed);
    try {
      onValue(fromRows(parseTable(typed, kindOf(tensor.dtype), columnsOf(tensor)), tensor));
    } catch (error) {
      onProblem(error instanceof Error ? error.message : 'This is no table.');
    }
  };
  return (
    <>
      {text.length > SHOWN_LENGTH_MAX ? (
        <LongText length={text.length} onRemove={() => change('')} />
      ) : (
        <Textarea
          label="Rows"
          description="A row a line: values with commas, tabs, semicolons or blanks between. A first line of names is left out."
          value={text}
          onChange={(event) => change(event.currentTarget.value)}
          autosize
          minRows={4}
          maxRows={14}
          classNames={{ input: classes.code ?? '' }}
          spellCheck={false}
        />
      )}
      <Group gap="sm">
        <FileButton
          onChange={(file) => void file?.text().then(change)}
          accept=".csv,.tsv,.txt,text/csv,text/tab-separated-values,text/plain"
          inputProps={{ 'aria-label': 'A CSV or TSV file', onClick: forgetChoice }}
        >
          {(props) => (
            <Button {...props} size="compact-sm" variant="default">
              Choose a CSV or TSV file
            </Button>
          )}
        </FileButton>
        <Text size="sm" c="dimmed">
          {formatExact(rows.length)} row{rows.length === 1 ? '' : 's'} of {rows[0]?.length ?? 0}
        </Text>
      </Group>
    </>
  );
}

function LongText({ length, onRemove }: { length: number; onRemove: () => void }): ReactElement {
  return (
    <Group gap="sm">
      <Text size="sm">These rows ({formatBytes(length)}) are too long to be shown here.</Text>
      <Button size="compact-sm" variant="default" onClick={onRemove}>
        Take them away
      </Button>
    </Group>
  );
}
