import { isPlain } from '@/lib/json';

import { JSON_DIALECT, jsonText, print } from './printing';
import { REQUEST_FILE, TOKEN_VARIABLE, type Written } from './call';

/** With fetch. Numbers that JavaScript would round stay text, there and back. */
export function javascript(written: Written): string {
  const exact = !isPlain(written.inputs);
  return `const token = globalThis.process?.env.${TOKEN_VARIABLE};
${given(written, exact)}
  const response = await fetch(${jsonText(written.url)}, {
    method: "POST",
    headers: { Authorization: \`Bearer \${token}\`, "Content-Type": "application/json" },
    body,
  });
  const text = await response.text();
  if (!response.ok) throw new Error(\`\${response.status}: \${JSON.parse(text).error.message}\`);
  return ${exact ? 'text; // JSON.parse would round whole numbers beyond 2 ** 53' : 'JSON.parse(text).result;'}
}

infer().then((result) => console.log(${exact ? 'result' : 'JSON.stringify(result)'}));
`;
}

function given({ modelId, inputs, body }: Written, exact: boolean): string {
  if (body === null) {
    return `
async function infer() {
  const { readFile } = await import("node:fs/promises");
  const body = await readFile(${jsonText(REQUEST_FILE)});`;
  }
  if (exact) {
    return `
// A text, because JavaScript would round whole numbers beyond 2 ** 53.
const body = String.raw\`${rawTemplate(body)}\`;

async function infer() {`;
  }
  return `const inputs = ${print(inputs, JSON_DIALECT, 0, 'const inputs = '.length)};

async function infer() {
  const body = JSON.stringify({ model: ${jsonText(modelId)}, inputs });`;
}

/** JSON in which no character means anything to String.raw. Both can only be inside of its strings. */
function rawTemplate(json: string): string {
  return json.replaceAll('`', '\\u0060').replaceAll('${', '\\u0024{');
}
