import { type Dialect, print, wideText } from './printing';
import { REQUEST_FILE, TOKEN_VARIABLE, type Written } from './call';

/** As Python's literals. Its whole numbers have no end; only a negative zero has to be a float to stay one. */
const PYTHON: Dialect = {
  none: 'None',
  yes: 'True',
  no: 'False',
  text: wideText,
  numeral: (text) => (text === '-0' ? '-0.0' : text),
  indent: '    ',
};

/** With the standard library. */
export function python({ modelId, url, inputs, body }: Written): string {
  const large = body === null;
  const given = large
    ? `with open(${wideText(REQUEST_FILE)}, "rb") as file:
    body = file.read()`
    : `inputs = ${print(inputs, PYTHON, 0, 'inputs = '.length)}
body = json.dumps({"model": ${wideText(modelId)}, "inputs": inputs}).encode()`;
  return `import json
import os
import urllib.error
import urllib.request

${given}
request = urllib.request.Request(
    ${wideText(url)},
    data=body,
    headers={
        "Authorization": f"Bearer {os.environ['${TOKEN_VARIABLE}']}",
        "Content-Type": "application/json",
    },
)
try:
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
except urllib.error.HTTPError as error:
    raise SystemExit(f"{error.code}: {json.load(error)['error']['message']}")

print(json.dumps(answer["result"]))
`;
}

/** With the client, which gives numpy arrays and waits by itself for a model that is being loaded. */
export function pythonClient({ modelId, url, inputs, outputs, body }: Written): string {
  const [only] = inputs.size === 1 ? inputs.values() : [];
  const given =
    body === null
      ? `with open(${wideText(REQUEST_FILE)}, encoding="utf-8") as file:
    inputs = json.load(file)["inputs"]`
      : `inputs = ${print(only ?? inputs, PYTHON, 0, 'inputs = '.length)}`;
  const shown =
    outputs.length === 1
      ? 'print(answer.tolist())'
      : 'print({name: array.tolist() for name, array in answer.items()})';
  return `${body === null ? 'import json\n' : ''}import os

import modelrocket

${given}
client = modelrocket.Client(${wideText(endpoint(url))})
try:
    answer = client.predict(
        ${wideText(modelId)}, inputs, token=os.environ["${TOKEN_VARIABLE}"]
    )
except modelrocket.ModelRocketError as error:
    raise SystemExit(str(error))

${shown}
`;
}

function endpoint(url: string): string {
  return url.replace(/\/inference$/, '');
}
