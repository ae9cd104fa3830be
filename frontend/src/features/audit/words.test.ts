import { describe, expect, it } from 'vitest';

import type { AuditLine } from './queries';
import { LINE } from './sample';
import { actionInWords, actorInWords, modelOf, objectInWords, outcomeExplained } from './words';

it('says what was done, or what the API calls it', () => {
  expect(actionInWords('session.begin')).toBe('Log in');
  expect(actionInWords('rocket.launch')).toBe('rocket.launch');
});

it.each([
  ['platform', 'the platform'],
  ['operator', 'an operator'],
  ['', 'nobody known'],
  ['mr_jzq0f…', 'mr_jzq0f…'],
])('calls %j %s', (actor, said) => {
  expect(actorInWords(actor)).toBe(said);
});

it('explains an outcome with its code', () => {
  expect(outcomeExplained({ outcome: 'refused', code: 'not_found' })).toBe(
    "It was refused, and changed nothing. The error's code is not_found.",
  );
});

it.each([
  ['upload', 'm1'],
  ['model', 'm1'],
  ['key', null],
  ['session', null],
])('of %s, the model is %s', (object_type, model) => {
  expect(modelOf({ ...LINE, object_type })).toBe(model);
});

describe('objectInWords', () => {
  it.each<[Partial<AuditLine>, string | undefined, string]>([
    [{}, 'digits', 'digits, version 1'],
    [{ object_name: 'digits version 1' }, 'digits', 'digits version 1'],
    [{ object_name: null }, 'digits', 'digits'],
    [{}, undefined, 'version 1'],
    [{ object_name: null }, undefined, 'm1'],
    [{ object_name: null, object_id: null }, undefined, '–'],
  ])('%o of %s is %s', (changed, modelName, said) => {
    expect(objectInWords({ ...LINE, ...changed }, modelName)).toBe(said);
  });
});
