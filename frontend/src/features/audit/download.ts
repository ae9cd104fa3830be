import type { AuditLine } from './queries';

const COLUMNS = [
  'number',
  'at',
  'actor',
  'action',
  'outcome',
  'code',
  'object_type',
  'object_id',
  'object_name',
  'address',
  'user_agent',
  'request_id',
  'hash',
] as const satisfies readonly (keyof AuditLine)[];

/** RFC 4180. What a spreadsheet would take for a formula is told to be text, with an apostrophe. */
export function csv(lines: readonly AuditLine[]): string {
  const rows = lines.map((line) => COLUMNS.map((name) => field(line[name])).join(','));
  return [COLUMNS.join(','), ...rows, ''].join('\r\n');
}

export function json(lines: readonly AuditLine[]): string {
  return `${JSON.stringify(lines, null, 2)}\n`;
}

function field(value: string | number | null): string {
  const text = String(value ?? '');
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Hands a text over as a file. */
export function save(text: string, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
