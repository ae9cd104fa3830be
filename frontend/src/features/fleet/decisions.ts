import type { Decision } from './queries';

export type Kind = 'capacity' | 'placement' | 'hosts';

export interface Line {
  kind: Kind;
  text: string;
  /** The model it speaks of; null where it speaks of the fleet or of a host. */
  model: { id: string; name: string | null } | null;
}

/** What is left of a decision for who asked for one kind, or one model. */
export interface Entry {
  number: number;
  at: string;
  /** What was done, then why. */
  did: Line[];
  why: Line[];
}

export interface Wanted {
  kind: Kind | 'all';
  /** Id; empty for all. */
  model: string;
}

const MODEL_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const FLEET = 'fleet';

/**
 * Decisions, newest first, as entries. What was said of the fleet already with the one before is not said
 * again, and those of which nothing is left are left out.
 */
export function entries(decisions: readonly Decision[], wanted: Wanted): Entry[] {
  return decisions
    .map((decision, at) => entry(withoutRepetition(decision, decisions[at + 1]), wanted))
    .filter((one) => one.why.length > 0 || one.did.length > 0);
}

function entry(decision: Decision, { kind, model }: Wanted): Entry {
  const asked = (line: Line) => kind === 'all' || line.kind === kind;
  const why = decision.reasons.map(reason).filter((line) => (model ? line.model?.id === model : true));
  return {
    number: decision.number,
    at: decision.at,
    did: model ? [] : decision.did.map(done).filter(asked),
    why: why.filter(asked),
  };
}

function withoutRepetition(decision: Decision, before: Decision | undefined): Decision {
  const said = new Set(before?.reasons.map((one) => one.text));
  const isNew = (one: Decision['reasons'][number]) => one.about !== FLEET || !said.has(one.text);
  return { ...decision, reasons: decision.reasons.filter(isNew) };
}

function reason({ about, name, text }: Decision['reasons'][number]): Line {
  if (about === FLEET) return { kind: 'capacity', text, model: null };
  return MODEL_ID.test(about)
    ? { kind: 'placement', text, model: { id: about, name } }
    : { kind: 'hosts', text, model: null };
}

function done(did: Decision['did'][number]): Line {
  const host = did.host_id ?? 'a host';
  if (did.kind === 'assign')
    return {
      kind: 'placement',
      text: `${host} is to hold ${counted(did.versions ?? 0, 'version')}`,
      model: null,
    };
  if (did.kind === 'forget') return { kind: 'hosts', text: `${host} is forgotten`, model: null };
  const ending = did.ending?.length ? `; ${did.ending.join(', ')} may be stopped` : '';
  return { kind: 'capacity', text: `${counted(did.hosts ?? 0, 'host')} wanted${ending}`, model: null };
}

/** Models that decisions speak of, by name, for a list to choose from. */
export function modelsIn(decisions: readonly Decision[]): { id: string; name: string }[] {
  const named = new Map<string, string>();
  for (const { about, name } of decisions.flatMap((decision) => decision.reasons))
    if (name !== null && MODEL_ID.test(about)) named.set(about, name);
  return [...named].map(([id, name]) => ({ id, name })).sort((a, b) => a.name.localeCompare(b.name));
}

/** 1 → `1 host`, 2 → `2 hosts`. */
export function counted(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}
