import { Textarea } from '@mantine/core';
import { type ReactElement, useState } from 'react';

import { type Json, parseJson } from '@/lib/json';
import { JSON_DIALECT, print } from '@/lib/snippets/printing';

import type { EditorProps } from './editing';
import classes from './editors.module.css';
import { misfit } from './values';

/** One input as JSON. Where it does not fit it may be sent all the same: the model's host has the last word. */
export function JsonEditor({ field: { tensor }, value, onValue, onProblem }: EditorProps): ReactElement {
  const hint = misfit(value, tensor);
  const change = (text: string) => {
    try {
      onValue(parseJson(text));
    } catch (error) {
      onProblem(error instanceof Error ? error.message : 'This is no JSON.');
    }
  };
  return (
    <JsonText
      label="Nested lists"
      description={hint === null ? 'Rows first. Null is NaN.' : `It may not fit: ${hint}`}
      value={value}
      onText={change}
    />
  );
}

interface JsonTextProps {
  label: string;
  description: string;
  /** What it begins with. */
  value: Json;
  onText: (text: string) => void;
}

export function JsonText({ label, description, value, onText }: JsonTextProps): ReactElement {
  const [text, setText] = useState(() => print(value, JSON_DIALECT));
  return (
    <Textarea
      label={label}
      description={description}
      value={text}
      onChange={(event) => {
        setText(event.currentTarget.value);
        onText(event.currentTarget.value);
      }}
      rows={Math.min(24, Math.max(4, text.split('\n').length + 1))}
      classNames={{ input: classes.code ?? '' }}
      spellCheck={false}
    />
  );
}
