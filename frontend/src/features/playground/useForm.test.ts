import { describe, expect, it } from 'vitest';

import { callable } from '@/lib/examples';
import { isObject, parseJson, writeJson } from '@/lib/json';

import { fieldsOf } from './forms';
import { type Change, changed, editorOf, type Form } from './useForm';

const found = callable(
  JSON.stringify({
    signature: { inputs: [{ name: 'x', dtype: 'float32', shape: [null, 2] }], outputs: [] },
    sizes: { x: [1, 2] },
    example: { source: 'sample', inputs: { x: [[1, 2]] } },
  }),
);
const fields = found ? fieldsOf(found) : [];
const begun: Form = {
  inputs: found?.inputs ?? new Map(),
  problems: new Map(),
  editors: new Map(),
  asJson: false,
  jsonProblem: null,
  generation: 0,
};

function after(...changes: Change[]): Form & { shown: string; editor: string } {
  const form = changes.reduce((before, change) => changed(fields, before, change), begun);
  const [field] = fields;
  return { ...form, shown: writeJson(form.inputs), editor: field ? editorOf(form, field) : '' };
}

describe('changed', () => {
  it('keeps the last values that could be read while others are typed', () => {
    const form = after({ type: 'unreadable', name: 'x', editor: 'fields', problem: 'Value 1: …' });
    expect(form).toMatchObject({ shown: '{"x":[[1,2]]}', editor: 'fields' });
    expect(form.problems.get('x')).toBe('Value 1: …');
  });

  it('stays in the editor that is typed in, whatever is typed', () => {
    const rows = (text: string): Change => ({
      type: 'typed',
      name: 'x',
      editor: 'table',
      value: parseJson(text),
    });
    expect(after(rows('[[1,2],[3,4]]')).editor).toBe('table');
    expect(after(rows('[[1,2],[3,4]]'), rows('[[1,2]]')).editor).toBe('table');
  });

  it('shows as JSON what no other editor can show', () => {
    expect(after({ type: 'json', text: '{"x":[[1,2,3]]}' }).editor).toBe('json');
    expect(after({ type: 'json', text: '{"x":[[1,2],[3,4]]}' }).editor).toBe('table');
  });

  it.each([
    ['{"x": [[1, 2]', 'Line 1, column 14: '],
    ['[1]', 'An object with the inputs by name is expected'],
    ['{"y": 1}', 'The model has no input “y”'],
  ])('says what is wrong with %s', (text, says) => {
    expect(after({ type: 'json', text }).jsonProblem).toContain(says);
  });

  it('begins anew with inputs from elsewhere', () => {
    const inputs = parseJson('{"x":[[5,6]]}');
    if (!isObject(inputs)) throw new Error('an object was meant');
    const form = after(
      { type: 'unreadable', name: 'x', editor: 'fields', problem: '…' },
      { type: 'json', text: '{' },
      { type: 'replaced', inputs },
    );
    expect(form).toMatchObject({ shown: '{"x":[[5,6]]}', generation: 1, jsonProblem: null });
    expect(form.problems.size).toBe(0);
  });
});
