import { Button, Group, SegmentedControl, Stack, Text } from '@mantine/core';
import type { ActionDispatch, SubmitEvent, ReactElement, ReactNode } from 'react';

import { Panel } from '@/components/Panel';
import type { JsonObject } from '@/lib/json';

import type { Field } from './forms';
import { InputEditor } from './InputEditor';
import { JsonText } from './JsonEditor';
import { type Change, editorOf, type Form } from './useForm';

interface Props {
  fields: readonly Field[];
  form: Form;
  change: ActionDispatch<[Change]>;
  example: JsonObject;
  /** What the model's host said of an input, by name. */
  refused: ReadonlyMap<string, string>;
  pending: boolean;
  /** Why this cannot be sent. */
  obstacle: string | null;
  onRun: () => void;
  /** Beside the button. */
  children?: ReactNode;
}

/** What goes in: a form made from the signature, or the same as JSON. */
export function InputsPanel(props: Props): ReactElement {
  const { form, change, example, pending, obstacle, onRun, children } = props;
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (obstacle === null) onRun();
  };
  return (
    <Panel title="Inputs" actions={<View form={form} change={change} />}>
      <form onSubmit={submit} noValidate>
        <Stack>
          {form.asJson ? <WholeJson {...props} /> : <Fields {...props} />}
          {obstacle !== null && (
            <Text size="sm" role="status">
              {obstacle}
            </Text>
          )}
          <Group>
            <Button type="submit" loading={pending} disabled={obstacle !== null}>
              Run
            </Button>
            <Button variant="default" onClick={() => change({ type: 'replaced', inputs: example })}>
              Put the example back
            </Button>
            {children}
          </Group>
        </Stack>
      </form>
    </Panel>
  );
}

function View({ form, change }: Pick<Props, 'form' | 'change'>): ReactElement {
  return (
    <SegmentedControl
      size="xs"
      aria-label="Fill in"
      value={form.asJson ? 'json' : 'form'}
      onChange={(view) => change({ type: 'view', asJson: view === 'json' })}
      data={[
        { value: 'form', label: 'Form', disabled: form.jsonProblem !== null },
        { value: 'json', label: 'Edit as JSON' },
      ]}
    />
  );
}

function Fields({ fields, form, change, refused }: Props): ReactElement[] {
  return fields.map((field) => {
    const { name } = field.tensor;
    const editor = editorOf(form, field);
    return (
      <InputEditor
        key={`${form.generation} ${name}`}
        field={field}
        value={form.inputs.get(name) ?? null}
        editor={editor}
        problem={form.problems.get(name) ?? refused.get(name) ?? null}
        onEditor={(chosen) => change({ type: 'editor', name, editor: chosen })}
        onValue={(value) => change({ type: 'typed', name, editor, value })}
        onProblem={(problem) => change({ type: 'unreadable', name, editor, problem })}
      />
    );
  });
}

function WholeJson({ form, change, refused }: Props): ReactElement {
  const problem = form.jsonProblem ?? [...refused.values()][0] ?? null;
  return (
    <div>
      <JsonText
        key={form.generation}
        label="All inputs"
        description="By name, as the request has them. Rows first; null is NaN."
        value={form.inputs}
        onText={(text) => change({ type: 'json', text })}
      />
      <div role="alert">
        {problem !== null && (
          <Text size="sm" c="var(--bad)" mt={4}>
            {problem}
          </Text>
        )}
      </div>
    </div>
  );
}
