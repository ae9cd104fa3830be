import { Select, Textarea, TextInput } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import classes from './editors.module.css';
import type { EditorProps } from './editing';
import { type Kind, kindOf, leavesOf, leafText, readLeaf, shaped } from './values';

/** A box for each value of one row. */
export function FieldsEditor({ field, value, onValue, onProblem }: EditorProps): ReactElement {
  const kind = kindOf(field.tensor.dtype);
  const [texts, setTexts] = useState(() => leavesOf(value).map(leafText));
  const change = (index: number, text: string) => {
    const next = texts.map((one, place) => (place === index ? text : one));
    setTexts(next);
    const wrong = next.findIndex((one) => problemOf(one, kind) !== null);
    if (wrong >= 0) onProblem(`${labelOf(wrong, next.length)}: ${problemOf(next[wrong] ?? '', kind) ?? ''}.`);
    else
      onValue(
        shaped(
          next.map((one) => readLeaf(one, kind)),
          field.shape,
        ),
      );
  };
  return (
    <div className={kind === 'text' ? classes.texts : classes.fields}>
      {texts.map((text, index) => (
        <Box
          key={index}
          kind={kind}
          label={labelOf(index, texts.length)}
          text={text}
          onText={(typed) => change(index, typed)}
        />
      ))}
    </div>
  );
}

interface BoxProps {
  kind: Kind;
  label: string;
  text: string;
  onText: (text: string) => void;
}

function Box({ kind, label, text, onText }: BoxProps): ReactElement {
  const error = problemOf(text, kind);
  if (kind === 'text') {
    return (
      <Textarea
        label={label}
        value={text}
        onChange={(event) => onText(event.currentTarget.value)}
        autosize
        minRows={2}
        maxRows={12}
      />
    );
  }
  if (kind === 'bool') {
    return (
      <Select
        label={label}
        data={['true', 'false']}
        value={text}
        onChange={(chosen) => onText(chosen ?? 'false')}
        allowDeselect={false}
      />
    );
  }
  return (
    <TextInput
      label={label}
      value={text}
      onChange={(event) => onText(event.currentTarget.value)}
      error={error !== null}
      inputMode={kind === 'float' ? 'decimal' : 'numeric'}
      autoComplete="off"
    />
  );
}

function labelOf(index: number, count: number): string {
  return count === 1 ? 'Value' : `Value ${index + 1}`;
}

function problemOf(text: string, kind: Kind): string | null {
  try {
    readLeaf(text, kind);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : 'This cannot be read';
  }
}
