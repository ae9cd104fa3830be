import type { AuditLine, Verified } from './queries';

/** As far as a log was looked at. */
export interface Progress {
  first: number;
  last: number;
}

export interface Result {
  ok: boolean;
  text: string;
  /** Of the last entry that is right; null where there is none. */
  kept: { number: number; hash: string } | null;
}

/** Looks at a whole log, step by step. `step`: as many entries behind a number as one call tells of. */
export async function verify(
  step: (after: number) => Promise<Verified>,
  onProgress: (progress: Progress) => void,
): Promise<Result> {
  let found = await step(0);
  const first = found.first;
  while (!found.complete && found.broken_at === null) {
    onProgress({ first, last: found.last });
    const next = await step(found.last);
    if (next.last <= found.last && !next.complete && next.broken_at === null)
      throw new Error('The server does not get on with this log. Try again later.');
    const nothingMore = next.complete && next.last === 0;
    found = nothingMore ? { ...found, complete: true } : next;
  }
  return result(first, found);
}

function result(first: number, found: Verified): Result {
  const kept = found.hash === null || found.last === 0 ? null : { number: found.last, hash: found.hash };
  if (found.broken_at !== null) {
    const why = found.why ?? 'it is not as it was written';
    return { ok: false, text: `The log was changed at number ${found.broken_at}: ${why}.`, kept };
  }
  if (first === 0) return { ok: true, text: 'The log is empty: there is nothing to verify.', kept: null };
  const which = first === found.last ? `Entry ${first} is` : `Entries ${first} to ${found.last} are`;
  const older = first > 1 ? ' Those before are over their time.' : '';
  return { ok: true, text: `${which} as written; none is missing between them.${older}`, kept };
}

/** Whether what somebody kept of the log (a number and the hash then told) still holds. */
export function compared(number: number, hash: string, entry: AuditLine | undefined): Result {
  if (entry?.number !== number)
    return { ok: false, text: `There is no entry ${number} in this log (any more).`, kept: null };
  const same = entry.hash === hash.trim().toLowerCase();
  return {
    ok: same,
    text: same
      ? `Entry ${number} has the hash you kept: nothing up to it was changed since.`
      : `Entry ${number} has another hash than the one you kept: the log was changed, or the hash is of another entry.`,
    kept: null,
  };
}
