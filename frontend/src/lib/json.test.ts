import { describe, expect, it } from 'vitest';

import { isPlain, JsonError, Numeral, parseJson, writeJson } from './json';

describe('parseJson and writeJson', () => {
  it.each([
    '{"a":[9007199254740993,-9223372036854775808,1.50,-0,1e-7,null,true,false]}',
    '["quote \\" backslash \\\\ line \\n tab \\t","München 日本 🚀","\\u0000"]',
    '{"__proto__":{"1":[],"0":{}}}',
    '"alone"',
  ])('keeps %s', (text) => {
    expect(writeJson(parseJson(text))).toBe(text);
  });

  it('reads blanks and escapes', () => {
    expect(writeJson(parseJson(' [ "\\u00fc\\/" ,\n1 ] '))).toBe('["ü/",1]');
  });

  it.each([
    ['[1, 2', 1, 6],
    ['{\n  "a": [1,\n  2,]\n}', 3, 5],
    ['[NaN]', 1, 2],
    ['[01]', 1, 3],
    ['{"a" 1}', 1, 6],
    ['[1] 2', 1, 5],
    ['["a\nb"]', 1, 2],
    ['', 1, 1],
  ])('says where %j is wrong', (text, line, column) => {
    const error = thrown(() => parseJson(text));
    expect(error).toBeInstanceOf(JsonError);
    expect(error).toMatchObject({ line, column });
  });

  it('refuses what is nested without end', () => {
    expect(thrown(() => parseJson('['.repeat(100_000)))).toBeInstanceOf(JsonError);
  });
});

describe('isPlain', () => {
  it.each([
    ['[1, -2.5, 1e10, 9007199254740992]', true],
    ['[9007199254740993]', false],
    ['[[1], [-0]]', false],
    ['1e999', false],
    ['{"__proto__": 1}', false],
  ])('%s: %s', (text, plain) => {
    expect(isPlain(parseJson(text))).toBe(plain);
  });

  it('takes a number as it is written', () => {
    expect(parseJson('1.50')).toEqual(new Numeral('1.50'));
  });
});

function thrown(action: () => unknown): unknown {
  try {
    return action();
  } catch (error) {
    return error;
  }
}
