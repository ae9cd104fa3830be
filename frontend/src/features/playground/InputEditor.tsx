import { Group, SegmentedControl, Text } from '@mantine/core';
import { type ComponentType, type ReactElement, useId } from 'react';

import { formatShape } from '@/lib/format';
import type { Json } from '@/lib/json';

import type { EditorProps } from './editing';
import { FieldsEditor } from './FieldsEditor';
import { type Editor, type Field, usable } from './forms';
import { ImageEditor } from './ImageEditor';
import classes from './InputEditor.module.css';
import { JsonEditor } from './JsonEditor';
import { TableEditor } from './TableEditor';

const EDITORS: Readonly<Record<Editor, { label: string; Component: ComponentType<EditorProps> }>> = {
  fields: { label: 'Fields', Component: FieldsEditor },
  table: { label: 'Table', Component: TableEditor },
  image: { label: 'Picture', Component: ImageEditor },
  json: { label: 'JSON', Component: JsonEditor },
};

interface Props extends EditorProps {
  editor: Editor;
  /** What cannot be read, or what the model's host refused. */
  problem: string | null;
  onEditor: (editor: Editor) => void;
}

/** One input of the model, with its own choice of how to fill it in. */
export function InputEditor({ editor, problem, onEditor, ...given }: Props): ReactElement {
  const { tensor } = given.field;
  const { Component } = EDITORS[editor];
  const problemId = useId();
  return (
    <fieldset className={classes.field} data-wrong={problem !== null} aria-describedby={problemId}>
      <legend className={classes.legend}>
        {tensor.name}{' '}
        <span className={classes.type}>
          {tensor.dtype}, {formatShape(tensor.shape)}
        </span>
      </legend>
      <Choice field={given.field} value={given.value} editor={editor} onEditor={onEditor} />
      <Component key={editor} {...given} />
      <div id={problemId} role="alert">
        {problem !== null && (
          <Text size="sm" className={classes.problem ?? ''}>
            {problem}
          </Text>
        )}
      </div>
    </fieldset>
  );
}

interface ChoiceProps {
  field: Field;
  value: Json;
  editor: Editor;
  onEditor: (editor: Editor) => void;
}

function Choice({ field, value, editor, onEditor }: ChoiceProps): ReactElement | null {
  const able = usable(field, value);
  if (field.editors.length < 2) return null;
  return (
    <Group>
      <SegmentedControl
        size="xs"
        aria-label={`How to fill in ${field.tensor.name}`}
        value={editor}
        onChange={(chosen) => onEditor(chosen)}
        data={field.editors.map((one) => ({
          value: one,
          label: EDITORS[one].label,
          disabled: !able.includes(one),
        }))}
      />
    </Group>
  );
}
