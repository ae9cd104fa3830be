import type { Model } from '@/lib/models';

import { position, STEPS } from '../stages';

export interface Serving {
  /** One word for the badge. */
  state: string;
  /** What is under way or went wrong, of the version that answers or of a newer one. */
  note: string | null;
  /** The note tells of something bad. */
  bad: boolean;
  /** Where in `STEPS` the newest version is; null when none is under way. */
  step: number | null;
}

/** What is most worth knowing of a model at a glance. */
export function serving(model: Model): Serving {
  const step = model.latest ? position(model.latest) : null;
  const wrong = whatIsWrong(model);
  return { state: stateOf(model), note: wrong ?? whatIsUnderWay(model, step), bad: wrong !== null, step };
}

function stateOf({ active, latest, quarantined }: Model): string {
  if (quarantined === true) return 'quarantined';
  if (active !== null) return 'active';
  return latest?.state ?? 'empty';
}

function whatIsWrong({ active, latest, quarantined }: Model): string | null {
  if (quarantined === true) return `Version ${active ?? ''} crashed twice and rests`;
  return active !== null && latest?.state === 'failed' ? `Version ${latest.number} failed` : null;
}

function whatIsUnderWay({ active, activating, latest }: Model, step: number | null): string | null {
  if (latest && step !== null) return `Version ${latest.number}: ${STEPS[step]?.label.toLowerCase() ?? ''}`;
  if (activating !== null) return `Version ${activating} is being loaded`;
  return active === null && latest?.state === 'ready' ? 'It has no traffic yet' : null;
}
