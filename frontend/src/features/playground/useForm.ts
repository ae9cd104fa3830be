import { useReducer } from 'react';

import { type Json, type JsonObject, parseJson } from '@/lib/json';

import { type Editor, type Field, misnamed, usable } from './forms';

/** What is filled in. Every editor shows the same values; what cannot be read is a problem beside them. */

export interface Form {
  inputs: JsonObject;
  /** Why what was typed for an input cannot be sent, by its name. */
  problems: ReadonlyMap<string, string>;
  /** What was chosen or typed in, by input: an editor does not change under one's hands. */
  editors: ReadonlyMap<string, Editor>;
  asJson: boolean;
  jsonProblem: string | null;
  /** Counts what came from elsewhere than the editors in sight, which then begin anew. */
  generation: number;
}

export type Change =
  | { type: 'typed'; name: string; editor: Editor; value: Json }
  | { type: 'unreadable'; name: string; editor: Editor; problem: string }
  | { type: 'editor'; name: string; editor: Editor }
  | { type: 'json'; text: string }
  | { type: 'view'; asJson: boolean }
  | { type: 'replaced'; inputs: JsonObject };

export function useForm(fields: readonly Field[], example: JsonObject) {
  return useReducer(
    (form: Form, change: Change) => changed(fields, form, change),
    example,
    (inputs): Form => ({
      inputs,
      problems: new Map(),
      editors: new Map(),
      asJson: false,
      jsonProblem: null,
      generation: 0,
    }),
  );
}

/** The editor that is shown for an input: the chosen one, where it can show the value. */
export function editorOf(form: Form, field: Field): Editor {
  const { name } = field.tensor;
  const chosen = form.editors.get(name);
  if (form.problems.has(name) && chosen) return chosen;
  const able = usable(field, form.inputs.get(name) ?? null);
  return chosen && able.includes(chosen) ? chosen : (able[0] ?? 'json');
}

export function changed(fields: readonly Field[], form: Form, change: Change): Form {
  switch (change.type) {
    case 'typed':
      return {
        ...form,
        inputs: new Map(form.inputs).set(change.name, change.value),
        editors: new Map(form.editors).set(change.name, change.editor),
        problems: without(form.problems, change.name),
      };
    case 'unreadable':
      return {
        ...form,
        editors: new Map(form.editors).set(change.name, change.editor),
        problems: new Map(form.problems).set(change.name, change.problem),
      };
    case 'editor':
      return {
        ...form,
        editors: new Map(form.editors).set(change.name, change.editor),
        problems: without(form.problems, change.name),
      };
    case 'json':
      return { ...form, ...read(fields, change.text, form.inputs) };
    case 'view':
      return { ...form, asJson: change.asJson, problems: new Map() };
    case 'replaced':
      return {
        ...form,
        inputs: change.inputs,
        problems: new Map(),
        jsonProblem: null,
        generation: form.generation + 1,
      };
  }
}

function read(
  fields: readonly Field[],
  text: string,
  before: JsonObject,
): Pick<Form, 'inputs' | 'jsonProblem'> {
  try {
    const value = parseJson(text);
    if (!(value instanceof Map)) {
      return { inputs: before, jsonProblem: 'An object with the inputs by name is expected: { … }' };
    }
    const inputs: JsonObject = value;
    return { inputs, jsonProblem: misnamed(fields, inputs) };
  } catch (error) {
    return { inputs: before, jsonProblem: error instanceof Error ? error.message : 'This is no JSON.' };
  }
}

function without(problems: ReadonlyMap<string, string>, name: string): ReadonlyMap<string, string> {
  return new Map([...problems].filter(([other]) => other !== name));
}
