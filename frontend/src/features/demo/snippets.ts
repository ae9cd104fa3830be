import type { Schema } from '@/lib/api/client';
import { shellText } from '@/lib/snippets/curl';

import { inputOf } from './answer';
import { type Picture, SIDE } from './picture';

export type Demo = NonNullable<Schema['Demo']>;

/** All there is to it: it runs as it stands where the client and scikit-learn are installed. */
export const PYTHON = `import modelrocket, numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

digits = load_digits()
model = MLPClassifier((64,), max_iter=1000)
model.fit(digits.data / 16, digits.target)

modelrocket.upload(model, "digits", np.float32, (None, 64))`;

/** After that, in the same program or any other. */
export const PYTHON_CALL = `modelrocket.Client().predict("digits", digits.data[:3] / 16)`;

/** The request that asks `demo` for this picture. */
export function curlOf(demo: Demo, picture: Picture): string {
  const body = `{"token": "${demo.token}",
 "model": "${demo.model_id}",
 "inputs": {${JSON.stringify(demo.input)}: ${tensorText(inputOf(picture, demo.shape))}}}`;
  return `curl ${demo.url} \\
  -H 'Content-Type: application/json' -d ${shellText(`\n${body}`)}`;
}

/** As it looks for a model of one's own. */
export function curlOfYours(origin: string): string {
  return `curl ${origin}/inference \\
  -H 'Content-Type: application/json' -d '
{"token": "mr_…", "model": "…",
 "inputs": {"modelInput": [[0, 0.25, 1, …]]}}'`;
}

/** Brackets as JSON has them, and a line for each row of the picture. */
function tensorText(tensor: unknown): string {
  let written = 0;
  const write = (value: unknown): string => {
    if (Array.isArray(value)) return `[${value.map(write).join(',')}]`;
    written += 1;
    return `${(written - 1) % SIDE === 0 ? '\n  ' : ' '}${String(value)}`;
  };
  return write(tensor);
}

/** An answer's outputs, to four digits after the point. */
export function answerText(result: unknown): string {
  const outputs = Object.entries(result as Record<string, unknown>).map(
    ([name, output]) => ` ${JSON.stringify(name)}: ${JSON.stringify(output, rounded)}`,
  );
  return `{"result": {\n${outputs.join(',\n')}}}`;
}

function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toFixed(4)) : value;
}
