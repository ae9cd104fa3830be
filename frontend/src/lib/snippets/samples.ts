import type { Language } from '@/components/Code';
import { type JsonObject, writeJson } from '@/lib/json';

import type { Call } from './call';
import { curl } from './curl';
import { go } from './go';
import { javascript } from './javascript';
import { JSON_DIALECT, print } from './printing';
import { python, pythonClient } from './python';
import { r } from './r';

/** A longer request is a file beside the sample. */
const INLINE_BYTES_MAX = 2_000;

export interface Sample {
  id: string;
  /** What people call it. */
  label: string;
  language: Language;
  file: string;
  /** What it needs. */
  needs: string;
  code: string;
}

/** The same call in every language. */
export function samples(call: Call): Sample[] {
  const written = { ...call, body: isLarge(call) ? null : print(request(call), JSON_DIALECT) };
  return [
    { ...named('curl', 'curl', 'bash', 'sample.sh'), needs: 'curl 7.76 or newer', code: curl(written) },
    {
      ...named('python', 'Python', 'python', 'sample.py'),
      needs: 'Python 3.8 or newer, nothing else',
      code: python(written),
    },
    {
      ...named('client', 'Python client', 'python', 'sample_client.py'),
      needs: 'pip install modelrocket',
      code: pythonClient(written),
    },
    {
      ...named('javascript', 'JavaScript', 'javascript', 'sample.js'),
      needs: 'Node 18 or newer. It runs in a browser too, where everybody can read the token',
      code: javascript(written),
    },
    { ...named('go', 'Go', 'go', 'sample.go'), needs: 'the standard library', code: go(written) },
    { ...named('r', 'R', 'r', 'sample.R'), needs: 'R 4, httr and jsonlite', code: r(written) },
  ];
}

/** The body of the request, as it is sent. */
export function requestText(call: Pick<Call, 'modelId' | 'inputs'>): string {
  return writeJson(request(call));
}

export function isLarge(call: Call): boolean {
  return requestText(call).length > INLINE_BYTES_MAX;
}

function request(call: Pick<Call, 'modelId' | 'inputs'>): JsonObject {
  return new Map<string, string | JsonObject>([
    ['model', call.modelId],
    ['inputs', call.inputs],
  ]);
}

function named(id: string, label: string, language: Language, file: string): Omit<Sample, 'needs' | 'code'> {
  return { id, label, language, file };
}
