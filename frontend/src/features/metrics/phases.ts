import type { Phase } from './series';

/** In the order in which a request goes through them, after what they make up together. */
export const PHASES: readonly { phase: Phase; label: string; means: string }[] = [
  { phase: 'total', label: 'In all', means: 'From when a request was read to its answer.' },
  { phase: 'load', label: 'Load', means: 'Cold starts alone: waiting for the model to be loaded.' },
  { phase: 'queue', label: 'Queue', means: 'Waiting on the host for a place to run.' },
  { phase: 'batch', label: 'Batch', means: 'Waiting for the requests that share the run.' },
  { phase: 'run', label: 'Run', means: 'In the model.' },
];
