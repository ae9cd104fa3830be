import type { Schema } from '@/lib/api/client';

export type Stage = Schema['PrepareStage'];

/** What is known of a version on its way: the newest of a model, or one of its list. */
export interface UnderWay {
  state: Schema['VersionState'];
  stage: Stage | null;
}

type StepName = 'uploading' | Stage;

interface StepWords {
  name: StepName;
  label: string;
  /** What happens in it, in one sentence. */
  means: string;
}

/** The way of every version, in order. */
export const STEPS: readonly StepWords[] = [
  {
    name: 'uploading',
    label: 'Uploading',
    means: 'Its bytes go straight from the uploader’s computer to the store.',
  },
  { name: 'queued', label: 'Queued', means: 'It waits for a host that has time to prepare it.' },
  {
    name: 'downloading',
    label: 'Downloading',
    means: 'A host fetches the file and checks that not a byte has changed.',
  },
  {
    name: 'validating',
    label: 'Validating',
    means: 'The model firewall looks at the file, then loads it in a sandbox.',
  },
  {
    name: 'optimising',
    label: 'Optimising',
    means: 'A form that loads faster is made, and must answer like the file.',
  },
  {
    name: 'measuring',
    label: 'Measuring',
    means: 'Load time, memory and run time are measured, batch by batch.',
  },
  { name: 'warming', label: 'Warming', means: 'Hosts load it, so that its first caller does not wait.' },
];

export type StepState = 'done' | 'now' | 'waiting';

export interface Step extends StepWords {
  state: StepState;
}

/** Where in `STEPS` a version is; null when nothing is under way. */
export function position({ state, stage }: UnderWay): number | null {
  const name = stageName(state, stage);
  return name === null ? null : STEPS.findIndex((step) => step.name === name);
}

/** All steps with where they stand; null when nothing is under way. */
export function steps(version: UnderWay): Step[] | null {
  const now = position(version);
  if (now === null) return null;
  return STEPS.map((step, index) => ({ ...step, state: stepState(index, now) }));
}

function stageName(state: UnderWay['state'], stage: Stage | null): StepName | null {
  if (state === 'uploading') return 'uploading';
  if (state === 'preparing') return stage ?? 'queued'; // not known for a moment: it has at least arrived
  return state === 'ready' && stage === 'warming' ? 'warming' : null;
}

function stepState(index: number, now: number): StepState {
  if (index === now) return 'now';
  return index < now ? 'done' : 'waiting';
}
