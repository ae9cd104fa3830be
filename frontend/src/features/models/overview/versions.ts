import type { Model, Version } from '@/lib/models';

export function newestFirst(versions: readonly Version[]): Version[] {
  return versions.toSorted((one, other) => other.number - one.number);
}

/** The version that says what the model takes and costs: the active one, else the newest that knows. */
export function spokesman(versions: readonly Version[], { active }: Model): Version | null {
  const known = newestFirst(versions).filter(({ signature }) => signature !== null);
  return known.find(({ number }) => number === active) ?? known[0] ?? null;
}

export function bytesOf({ bytes, weights }: Version): number {
  return bytes + (weights?.bytes ?? 0);
}

/** What it does in the traffic, in a word; else what became of it. */
export function roleOf(version: Version, model: Model): string {
  if (version.active) return model.quarantined === true ? 'quarantined' : 'active';
  if (version.activating) return 'activating';
  if (model.candidate?.version === version.number) return 'candidate';
  return version.state;
}
