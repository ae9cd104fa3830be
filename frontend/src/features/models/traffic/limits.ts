import type { Schema } from '@/lib/api/client';

export type Limits = Schema['Guard'];

/** The API's own. A test compares them with its description. */
export const DEFAULT_LIMITS: Limits = {
  errors_percent_max: 2,
  latency_ratio_max: 2,
  drift_percent_max: 5,
  requests_min: 50,
  drift_tolerance: 0.1,
};

interface LimitField {
  name: keyof Limits;
  label: string;
  means: string;
  min: number;
  max: number;
  step: number;
  suffix: string;
}

/** The limits as a form asks for them, within what the API takes. */
export const LIMIT_FIELDS: readonly LimitField[] = [
  {
    name: 'errors_percent_max',
    label: 'Errors at most',
    means: 'Of its runs, those that fail through the model’s own fault.',
    min: 0,
    max: 100,
    step: 1,
    suffix: ' %',
  },
  {
    name: 'drift_percent_max',
    label: 'Other answers at most',
    means: 'Of the requests that both versions run, those answered differently.',
    min: 0,
    max: 100,
    step: 1,
    suffix: ' %',
  },
  {
    name: 'latency_ratio_max',
    label: 'Slower at most',
    means: 'Mean time of a run over the active version’s.',
    min: 1,
    max: 1000,
    step: 0.5,
    suffix: ' times',
  },
  {
    name: 'drift_tolerance',
    label: 'Numbers are the same within',
    means: 'Absolute below 1, relative above. Labels must be equal.',
    min: 0,
    max: 1_000_000,
    step: 0.01,
    suffix: '',
  },
  {
    name: 'requests_min',
    label: 'Judge after',
    means: 'Nothing is judged on fewer runs than this.',
    min: 1,
    max: 1_000_000,
    step: 10,
    suffix: ' runs',
  },
];
