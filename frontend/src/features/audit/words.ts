import type { AuditLine } from './queries';

/** What was done, by the API's word for it. */
export const ACTIONS: Readonly<Record<string, string>> = {
  'account.change': 'Change the account',
  'account.create': 'Create an account',
  'account.password': 'Reset a password',
  'account.suspend': 'Suspend an account',
  'account.unsuspend': 'Lift a suspension',
  'demo.choose': 'Choose the public demo',
  'key.create': 'Create a key',
  'key.revoke': 'Revoke a key',
  'key.rotate': 'Rotate a key',
  'model.delete': 'Delete a model',
  'model.pin': 'Pin or unpin a model',
  'model.remove': 'Remove what is left of a deleted model',
  'model.rollback': 'Roll back',
  'model.traffic': 'Change the traffic',
  'session.begin': 'Log in',
  'session.end': 'Log out',
  'session.end_all': 'End all sessions',
  'upload.begin': 'Begin an upload',
  'upload.complete': 'Complete an upload',
  'version.activate': 'Activate a version',
  'version.delete': 'Delete a version',
  'version.remove': 'Remove what is left of a deleted version',
};

export function actionInWords(action: string): string {
  return ACTIONS[action] ?? action;
}

const OUTCOMES: Readonly<Record<AuditLine['outcome'], string>> = {
  ok: 'done',
  refused: 'refused',
  failed: 'failed',
};

export function outcomeInWords(outcome: AuditLine['outcome']): string {
  return OUTCOMES[outcome];
}

const MEANINGS: Readonly<Record<AuditLine['outcome'], string>> = {
  ok: 'It was done.',
  refused: 'It was refused, and changed nothing.',
  failed: 'It failed on our side; part of it may have been done.',
};

export function outcomeExplained({ outcome, code }: Pick<AuditLine, 'outcome' | 'code'>): string {
  return code === null ? MEANINGS[outcome] : `${MEANINGS[outcome]} The error's code is ${code}.`;
}

/** Who, in words: the platform itself and its operators have no address. */
export function actorInWords(actor: string): string {
  if (actor === '') return 'nobody known';
  if (actor === 'platform') return 'the platform';
  return actor === 'operator' ? 'an operator' : actor;
}

const OF_MODELS: ReadonlySet<string> = new Set(['model', 'upload', 'version', 'demo']);

/** The id of the model that an entry is about; null where it is about none. */
export function modelOf({ object_type: type, object_id: id }: AuditLine): string | null {
  return OF_MODELS.has(type) ? id : null;
}

/** What it was done to: a name where there is one. `known`: of the model or key, where it is still there. */
export function objectInWords(line: AuditLine, known: string | undefined): string {
  const name = line.object_name ?? '';
  if (known !== undefined) return name === '' || name.startsWith(known) ? name || known : `${known}, ${name}`;
  return name || (line.object_id ?? '–');
}
