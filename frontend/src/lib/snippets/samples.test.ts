import { describe, expect, it } from 'vitest';

import { isObject, type Json, parseJson, writeJson } from '@/lib/json';

import { samples } from './samples';

const NASTY = [
  'plain',
  'quotes \' " ` and """',
  'back\\slash \\n \\u0041 ends in \\',
  'lines\nof\r\ntext\tand tabs',
  '$HOME ${process.exit(1)} $(exit 1) `exit 1` %s #{1}',
  'ends like a raw text )',
  'and like a longer one )-',
  'END\nEND',
  'München 日本 🚀 👩‍👩‍👧 \u202e\u2028\ufeff\u0000\u007f',
];
const INPUTS = [
  ['a matrix', '{"x":[[1.5,-2,3e-7],[0.1,null,12]]}'],
  ['nasty texts', writeJson(new Map([['text', NASTY.map((text) => [text])]]))],
  ['a nasty name', writeJson(new Map([['a "b" \\ `c` ${d}', NASTY]]))],
  ['two inputs', '{"left":[[1,2]],"right":[true,false]}'],
  ['whole numbers beyond 2^53', '{"ids":[9223372036854775807,-9007199254740993]}'],
  [
    'whole numbers and texts',
    writeJson(parseJson(`{"ids":[9007199254740993],"text":${JSON.stringify(NASTY)}}`)),
  ],
  ['a negative zero', '{"x":[-0,1]}'],
  ['long lines', `{"x":[[${Array.from({ length: 64 }, (_, index) => index / 16).join(',')}]]}`],
] as const;

describe.each(INPUTS)('the samples for %s', (_, inputs) => {
  const written = samples({
    modelId: 'm-1',
    url: 'http://localhost:5000/inference',
    inputs: parsed(inputs),
    outputs: ['y'],
  });
  const code = (id: string) => written.find((one) => one.id === id)?.code ?? '';
  const body = `{"model":"m-1","inputs":${inputs}}`;

  it('curl sends them', () => {
    expect(compact(between(code('curl'), "<<'END'\n", '\nEND\n'))).toBe(body);
  });

  it('JavaScript sends them', async () => {
    expect(compact(await sentByJavaScript(code('javascript')))).toBe(body);
  });

  it('Go sends them', () => {
    expect(compact(between(code('go'), 'const body = `', '`\n'))).toBe(body);
  });

  it('R sends them', () => {
    const [, dashes = ''] = /body <- r"(-*)\(/.exec(code('r')) ?? [];
    expect(compact(between(code('r'), `r"${dashes}(`, `)${dashes}"`))).toBe(body);
  });

  it('no character of them is unseen', () => {
    expect(written.filter((one) => /(?![\n\t])\p{C}/u.test(one.code))).toEqual([]);
  });
});

it('writes Python as Python', () => {
  const inputs = parsed('{"x":[null,true,-0,12345678901234567890],"s":["🚀\u202e","a\\"b"]}');
  const python = samples({ modelId: 'm', url: 'u', inputs, outputs: ['y'] }).find(
    (one) => one.id === 'python',
  );
  expect(python?.code).toContain(
    'inputs = {"x": [None, True, -0.0, 12345678901234567890], "s": ["🚀\\u202e", "a\\"b"]}\n',
  );
});

it('reads long inputs from a file that every sample names', () => {
  const inputs = parsed(`{"x":[${Array(2000).fill('1').join(',')}]}`);
  const written = samples({ modelId: 'm', url: 'u', inputs, outputs: ['y'] });
  expect(written.filter(({ code }) => !code.includes('request.json') || code.length > 1500)).toEqual([]);
});

it('holds no token', () => {
  const written = samples({ modelId: 'm', url: 'u', inputs: parsed('{"x":[1]}'), outputs: ['y'] });
  expect(written.filter(({ code }) => !code.includes('MODELROCKET_TOKEN') || code.includes('mr_'))).toEqual(
    [],
  );
});

function parsed(text: string) {
  const value: Json = parseJson(text);
  if (!isObject(value)) throw new Error('an object was meant');
  return value;
}

function between(text: string, start: string, end: string): string {
  const from = text.indexOf(start) + start.length;
  return text.slice(from, text.indexOf(end, from));
}

function compact(json: string): string {
  return writeJson(parseJson(json));
}

/** What its own fetch is given. */
async function sentByJavaScript(code: string): Promise<string> {
  let sent = '';
  const answered = new Promise<void>((resolve) => {
    const fetch = (_url: string, { body }: { body: string }) => {
      sent = body;
      return Promise.resolve({ ok: true, text: () => Promise.resolve('{"result":{}}') });
    };
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the code under test is text
    const run = new Function('fetch', 'console', code) as (...given: unknown[]) => void;
    run(fetch, { log: resolve });
  });
  await answered;
  return sent;
}
