import { type Json } from '@/lib/json';

import { type Kind, leafText, readLeaf } from './values';

/** Rows as people paste them: CSV, TSV or numbers with blanks between. */

export class TableError extends Error {
  override readonly name = 'TableError';
}

interface Cell {
  text: string;
  /** Where it begins, from 1. */
  line: number;
  column: number;
  quoted: boolean;
}

/** A first line that holds no value of this kind is a header. Throws `TableError` that points at the place. */
export function parseTable(text: string, kind: Kind, columns: number | null): Json[][] {
  const delimiter = kind === 'text' && columns === 1 ? ',' : delimiterOf(text);
  const rows = split(delimiter === ' ' ? tidied(text) : text.replace(/\s+$/, ''), delimiter);
  if (beginsWithHeader(rows, kind)) rows.shift();
  if (rows.length === 0) throw new TableError('Paste at least one row.');
  const width = columns ?? rows[0]?.length ?? 0;
  return rows.map((row) => {
    checkWidth(row, width);
    return row.map((cell) => readCell(cell, kind));
  });
}

function beginsWithHeader(rows: readonly (readonly Cell[])[], kind: Kind): boolean {
  const [first = []] = rows;
  return rows.length > 1 && kind !== 'text' && first.every((cell) => !reads(cell, kind));
}

/** As `parseTable` reads it. */
export function tableText(rows: readonly (readonly Json[])[]): string {
  return rows.map((row) => row.map((leaf) => quoted(leafText(leaf))).join(',')).join('\n');
}

function checkWidth(row: readonly Cell[], width: number): void {
  if (row.length === width) return;
  const at = row[width] ?? row.at(-1);
  const place = `Line ${at?.line ?? 1}, column ${at?.column ?? 1}`;
  throw new TableError(
    `${place}: this row has ${row.length} value${row.length === 1 ? '' : 's'}, and ${width} are expected.`,
  );
}

function readCell(cell: Cell, kind: Kind): Json {
  const text = kind === 'float' && cell.text.trim() === '' ? 'NaN' : cell.text;
  try {
    return readLeaf(text, kind);
  } catch (error) {
    const why = error instanceof Error ? error.message : '';
    throw new TableError(`Line ${cell.line}, column ${cell.column}: ${why}.`);
  }
}

function reads(cell: Cell, kind: Kind): boolean {
  try {
    readLeaf(cell.text, kind);
    return true;
  } catch {
    return false;
  }
}

function delimiterOf(text: string): string {
  const [line = ''] = text
    .replace(/"[^"]*"/g, '')
    .trim()
    .split('\n');
  return ['\t', ';', ','].find((one) => line.includes(one)) ?? (/^[^"]*\d\s+[-+.\d]/.test(line) ? ' ' : ',');
}

/** Cells, quoted or not, as RFC 4180 has them. An empty line is no row. */
function split(text: string, delimiter: string): Cell[][] {
  const rows: Cell[][] = [];
  let row: Cell[] = [];
  let [at, line, lineStart] = [0, 1, 0];
  const endRow = () => {
    const empty = row.length === 1 && row[0]?.text === '' && !row[0].quoted;
    if (!empty) rows.push(row);
    row = [];
  };
  while (at <= text.length) {
    const place = { line, column: at - lineStart + 1 };
    const raw = cellAt(text, at, delimiter);
    if (raw === null) {
      const where = `Line ${place.line}, column ${place.column}`;
      throw new TableError(`${where}: a quote is not closed, or stands beside other text.`);
    }
    row.push({ ...place, text: unquoted(raw), quoted: raw.startsWith('"') });
    const breaks = raw.split('\n').length - 1;
    if (breaks > 0) [line, lineStart] = [line + breaks, at + raw.lastIndexOf('\n') + 1];
    at += raw.length;
    const end = /^(?:\r?\n|\r)/.exec(text.slice(at, at + 2))?.[0] ?? delimiter;
    at += end.length;
    if (end !== delimiter || at > text.length) endRow();
    if (end !== delimiter) [line, lineStart] = [line + 1, at];
  }
  return rows;
}

const QUOTED = /"(?:[^"]|"")*"/y;
const PLAIN: Readonly<Record<string, RegExp>> = {
  ',': /[^,\r\n]*/y,
  ';': /[^;\r\n]*/y,
  '\t': /[^\t\r\n]*/y,
  ' ': /[^ \r\n]*/y,
};

/** What stands there up to the next delimiter, quotes included; null where quotes are wrong. */
function cellAt(text: string, at: number, delimiter: string): string | null {
  const pattern = text[at] === '"' ? QUOTED : (PLAIN[delimiter] ?? QUOTED);
  pattern.lastIndex = at;
  const raw = pattern.exec(text)?.[0];
  if (raw === undefined) return null;
  const next = text[at + raw.length];
  return next === undefined || next === delimiter || next === '\n' || next === '\r' ? raw : null;
}

/** Blanks between numbers, as many as there are, count as one. */
function tidied(text: string): string {
  return text.replace(/[ \t]+/g, ' ').replace(/^ | $/gm, '');
}

function unquoted(cell: string): string {
  return cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell;
}

function quoted(text: string): string {
  return text === '' || /[",;\t\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
