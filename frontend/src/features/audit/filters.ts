import type { AuditLine } from './queries';
import { actionInWords } from './words';

/** What is picked out here, of what is loaded: the API does not know of it. */
export interface Picked {
  outcome: AuditLine['outcome'] | 'all';
  text: string;
}

export const ALL: Picked = { outcome: 'all', text: '' };

export function pick(lines: readonly AuditLine[], { outcome, text }: Picked): AuditLine[] {
  const sought = text.trim().toLowerCase();
  return lines.filter(
    (line) => (outcome === 'all' || line.outcome === outcome) && (!sought || says(line, sought)),
  );
}

function says(line: AuditLine, sought: string): boolean {
  const told = [
    line.actor,
    line.action,
    actionInWords(line.action),
    line.object_name,
    line.object_id,
    line.address,
    line.user_agent,
    line.request_id,
    line.code,
  ];
  return told.some((one) => one?.toLowerCase().includes(sought) ?? false);
}
