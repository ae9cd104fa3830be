/** JSON whose numbers keep their text: JavaScript's own would round whole numbers beyond 2^53. */

export class Numeral {
  constructor(readonly text: string) {}
}

export type Json = null | boolean | string | Numeral | readonly Json[] | JsonObject;
/** By name, in the order of the text. A map, so that no name means anything else. */
export type JsonObject = ReadonlyMap<string, Json>;

/** Where a text stops being JSON. Both count from 1. */
export class JsonError extends Error {
  override readonly name = 'JsonError';

  constructor(
    what: string,
    readonly line: number,
    readonly column: number,
  ) {
    super(`Line ${line}, column ${column}: ${what}`);
  }
}

const DEPTH_MAX = 200;
const BLANKS = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORD = /true|false|null/y;
const WORDS: Readonly<Record<string, boolean | null>> = { true: true, false: false, null: null };

/** Throws `JsonError`. */
export function parseJson(text: string): Json {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return value instanceof Map;
}

export function isList(value: Json | undefined): value is readonly Json[] {
  return Array.isArray(value);
}

/** On one line, as it is sent. */
export function writeJson(value: Json): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return JSON.stringify(value);
  if (value instanceof Numeral) return value.text;
  if (isList(value)) return `[${value.map(writeJson).join(',')}]`;
  return `{${[...value].map(([name, item]) => `${JSON.stringify(name)}:${writeJson(item)}`).join(',')}}`;
}

/** Whether every number in it, and every name, comes through JavaScript's own values unchanged. */
export function isPlain(value: Json): boolean {
  if (value instanceof Numeral) return survives(value.text);
  if (isList(value)) return value.every(isPlain);
  return !isObject(value) || [...value].every(([name, item]) => name !== '__proto__' && isPlain(item));
}

function survives(text: string): boolean {
  const number = Number(text);
  if (!Number.isFinite(number) || Object.is(number, -0)) return false;
  return !/^-?\d+$/.test(text) || BigInt(text) === BigInt(number);
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  value(depth: number): Json {
    if (depth > DEPTH_MAX) throw this.wrong('this is nested too deeply');
    this.match(BLANKS);
    const next = this.text[this.at];
    if (next === '[') return this.list(depth);
    if (next === '{') return this.object(depth);
    if (next === '"') return this.string();
    return this.leaf();
  }

  end(): void {
    this.match(BLANKS);
    if (this.at < this.text.length) throw this.wrong('the end was expected here');
  }

  private list(depth: number): Json[] {
    const items: Json[] = [];
    this.items(']', () => items.push(this.value(depth + 1)));
    return items;
  }

  private object(depth: number): JsonObject {
    const items = new Map<string, Json>();
    this.items('}', () => {
      this.match(BLANKS);
      const name = this.string();
      if (!this.takes(':')) throw this.wrong('":" was expected here');
      items.set(name, this.value(depth + 1));
    });
    return items;
  }

  private items(close: string, item: () => void): void {
    this.at++;
    if (this.takes(close)) return;
    do item();
    while (this.takes(','));
    if (!this.takes(close)) throw this.wrong(`"," or "${close}" was expected here`);
  }

  private string(): string {
    const found = this.match(STRING);
    if (found === '') throw this.wrong('a text in double quotes was expected here');
    return JSON.parse(found) as string;
  }

  private leaf(): Json {
    const number = this.match(NUMBER);
    if (number !== '') return new Numeral(number);
    const word = WORDS[this.match(WORD)];
    if (word === undefined) throw this.wrong('a value was expected here');
    return word;
  }

  private takes(mark: string): boolean {
    this.match(BLANKS);
    if (this.text[this.at] !== mark) return false;
    this.at++;
    return true;
  }

  private match(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? '';
    this.at += found.length;
    return found;
  }

  private wrong(what: string): JsonError {
    const before = this.text.slice(0, this.at).split('\n');
    return new JsonError(what, before.length, (before.at(-1) ?? '').length + 1);
  }
}
