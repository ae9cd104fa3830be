import { csvText } from '@/lib/csv';

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

export function csv(lines: readonly AuditLine[]): string {
  return csvText([COLUMNS, ...lines.map((line) => COLUMNS.map((name) => line[name]))]);
}

export function json(lines: readonly AuditLine[]): string {
  return `${JSON.stringify(lines, null, 2)}\n`;
}
