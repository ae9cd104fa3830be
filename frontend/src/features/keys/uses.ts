import type { Language } from '@/components/Code';
import type { Key } from '@/lib/keys';

export interface Use {
  label: string;
  language: Language;
  code: string;
  /** What to know before running it. */
  note: string;
}

/** Stands where it is not known which model is meant. */
const SOME_MODEL = 'MODEL_ID';

/** How to use a secret at once, the most likely way first. Lines work as they stand, but for `rows` and `MODEL_ID`. */
export function usesOf(
  key: Pick<Key, 'kind' | 'scopes' | 'model_id'>,
  secret: string,
  origin: string,
): Use[] {
  if (key.scopes.includes('models:read'))
    return [logIn(secret, origin), terminal(origin), list(secret, origin)];
  if (key.scopes.includes('infer')) return [predict(key, secret, origin), describe(key, secret, origin)];
  return key.scopes.includes('keys') ? [list(secret, origin, 'keys')] : [explain(secret, origin)];
}

/** How to ask for a list: as the header that every other call needs, too. */
function list(secret: string, origin: string, what = 'models'): Use {
  return {
    label: 'curl',
    language: 'bash',
    code: `curl ${origin}/v1/${what} \\\n  -H "Authorization: Bearer ${secret}"`,
    note: 'Every call of the API takes this header.',
  };
}

/** What any key can be asked with. */
function explain(secret: string, origin: string): Use {
  return {
    label: 'curl',
    language: 'bash',
    code: `curl ${origin}/v1/keys/explain \\\n  -H "Content-Type: application/json" \\\n  -d '{"key": "${secret}"}'`,
    note: `Says what it may do. Calls that do it take the header Authorization: Bearer ${secret}.`,
  };
}

function logIn(secret: string, origin: string): Use {
  return {
    label: 'Python',
    language: 'python',
    code: `import modelrocket\nmodelrocket.remember("${origin}", "${secret}")`,
    note: 'Once on a machine: it is kept in a file that only you can read, and modelrocket.upload(…) just works.',
  };
}

function terminal(origin: string): Use {
  return {
    label: 'Terminal',
    language: 'bash',
    code: `modelrocket login ${origin}`,
    note: 'It asks for the key, so that it does not end up in your shell’s history. Paste it there.',
  };
}

function predict(key: Pick<Key, 'model_id'>, secret: string, origin: string): Use {
  const model = key.model_id ?? SOME_MODEL;
  return {
    label: 'Python',
    language: 'python',
    code: `import modelrocket\nmodelrocket.Client("${origin}").predict("${model}", rows, token="${secret}")`,
    note: 'rows: a numpy array, nested lists or a pandas table, one row for each answer.',
  };
}

function describe(key: Pick<Key, 'model_id'>, secret: string, origin: string): Use {
  return {
    label: 'curl',
    language: 'bash',
    code: `curl ${origin}/v2/models/${key.model_id ?? SOME_MODEL} \\\n  -H "Authorization: Bearer ${secret}"`,
    note: 'Says what the model takes. Calls that run it take this header, too: see the Code page of the model.',
  };
}
