import { isList, type Json, Numeral } from '@/lib/json';

const WIDTH = 88;

/** How a language writes what JSON can say. `numeral` takes JSON's text of a number. */
export interface Dialect {
  none: string;
  yes: string;
  no: string;
  text: (value: string) => string;
  numeral: (text: string) => string;
  indent: string;
}

export const JSON_DIALECT: Dialect = {
  none: 'null',
  yes: 'true',
  no: 'false',
  text: jsonText,
  numeral: (text) => text,
  indent: '  ',
};

/**
 * A value for people to read: on one line where that is short, else an item a line, and numbers filling lines.
 * `depth` is that of the line it begins on, `taken` how much of that line is written already.
 */
export function print(value: Json, dialect: Dialect, depth = 0, taken = 0): string {
  const flat = onOneLine(value, dialect);
  const fits = flat.length + taken + depth * dialect.indent.length <= WIDTH;
  if (fits || value === null || typeof value !== 'object' || value instanceof Numeral) return flat;
  const pad = dialect.indent.repeat(depth + 1);
  const lines = isList(value) ? listLines(value, dialect, depth) : objectLines([...value], dialect, depth);
  const [open, close] = isList(value) ? '[]' : '{}';
  return `${open}\n${lines.map((line) => pad + line).join('\n')}\n${dialect.indent.repeat(depth)}${close}`;
}

function listLines(items: readonly Json[], dialect: Dialect, depth: number): string[] {
  const last = items.length - 1;
  if (items.some((item) => typeof item === 'object' && item !== null && !(item instanceof Numeral))) {
    return items.map((item, index) => print(item, dialect, depth + 1) + (index < last ? ',' : ''));
  }
  const lines: string[] = [];
  const room = WIDTH - (depth + 1) * dialect.indent.length;
  for (const [index, item] of items.entries()) {
    const shown = onOneLine(item, dialect) + (index < last ? ',' : '');
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + shown.length > room) lines.push(shown);
    else lines[lines.length - 1] = `${line} ${shown}`;
  }
  return lines;
}

function objectLines(items: readonly (readonly [string, Json])[], dialect: Dialect, depth: number): string[] {
  return items.map(([name, item], index) => {
    const key = `${dialect.text(name)}: `;
    return key + print(item, dialect, depth + 1, key.length) + (index < items.length - 1 ? ',' : '');
  });
}

function onOneLine(value: Json, dialect: Dialect): string {
  if (value === null) return dialect.none;
  if (typeof value === 'boolean') return value ? dialect.yes : dialect.no;
  if (typeof value === 'string') return dialect.text(value);
  if (value instanceof Numeral) return dialect.numeral(value.text);
  if (isList(value)) return `[${value.map((item) => onOneLine(item, dialect)).join(', ')}]`;
  const items = [...value].map(([name, item]) => `${dialect.text(name)}: ${onOneLine(item, dialect)}`);
  return `{${items.join(', ')}}`;
}

/** Characters that are not seen, or that turn the text around them: nobody should have to copy them by eye. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** A JSON string, also good in JavaScript, with everything in it to be seen. */
export function jsonText(value: string): string {
  return JSON.stringify(value).replace(UNSEEN, (character) =>
    character
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join(''),
  );
}

/** As `jsonText`, for the languages where an escape is one character and not half of one. */
export function wideText(value: string): string {
  return JSON.stringify(value).replace(UNSEEN, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code > 0xffff
      ? `\\U${code.toString(16).padStart(8, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}
