import type { Schema } from '@/lib/api/client';

export type Verdict = 'counting' | 'within' | 'beyond';

export interface Judged {
  what: 'errors' | 'answers' | 'time';
  label: string;
  /** As it is now; null while nothing was counted. */
  value: number | null;
  /** Beyond which the candidate goes. */
  limit: number;
  /** Runs or comparisons so far, and how many it takes before anything is judged. */
  seen: number;
  needed: number;
  verdict: Verdict;
}

/** A candidate slower by less than this is not slow, whatever the ratio. */
const NOISE_US = 500;

/** How a candidate stands against each of its limits, as the coordinator judges it. */
export function judge(counts: Schema['CandidateCounts'], limits: Schema['Guard']): Judged[] {
  return [errors(counts, limits), answers(counts, limits), time(counts, limits)];
}

function errors({ candidate }: Schema['CandidateCounts'], limits: Schema['Guard']): Judged {
  const value = percent(candidate.errors, candidate.requests);
  return {
    what: 'errors',
    label: 'Runs that failed through the model’s own fault',
    value,
    limit: limits.errors_percent_max,
    seen: candidate.requests,
    needed: limits.requests_min,
    verdict: verdict(candidate.requests, limits, value !== null && value > limits.errors_percent_max),
  };
}

function answers({ candidate }: Schema['CandidateCounts'], limits: Schema['Guard']): Judged {
  const value = percent(candidate.differing, candidate.mirrored);
  return {
    what: 'answers',
    label: 'Compared answers that differ',
    value,
    limit: limits.drift_percent_max,
    seen: candidate.mirrored,
    needed: limits.requests_min,
    verdict: verdict(candidate.mirrored, limits, value !== null && value > limits.drift_percent_max),
  };
}

function time({ candidate, active }: Schema['CandidateCounts'], limits: Schema['Guard']): Judged {
  const runs = succeeded(candidate);
  const usual = succeeded(active);
  const seen = Math.min(runs, usual);
  const value = seen > 0 && active.run_us > 0 ? candidate.run_us / runs / (active.run_us / usual) : null;
  return {
    what: 'time',
    label: 'Mean time of a run, over the active version’s',
    value,
    limit: limits.latency_ratio_max,
    seen,
    needed: limits.requests_min,
    verdict: verdict(seen, limits, isSlow(candidate, active, limits)),
  };
}

/** Slow by the run and by the row: whichever version has more callers shares more of its runs. */
function isSlow(candidate: Schema['Counts'], active: Schema['Counts'], limits: Schema['Guard']): boolean {
  const [runs, usual] = [succeeded(candidate), succeeded(active)];
  if (runs === 0 || usual === 0) return false;
  const [slow, normal] = [candidate.run_us / runs, active.run_us / usual];
  const byRow = candidate.row_us / runs > (limits.latency_ratio_max * active.row_us) / usual;
  return slow - normal >= NOISE_US && slow > limits.latency_ratio_max * normal && byRow;
}

function succeeded({ requests, errors: failed }: Schema['Counts']): number {
  return Math.max(0, requests - failed);
}

function percent(part: number, whole: number): number | null {
  return whole > 0 ? (100 * part) / whole : null;
}

function verdict(seen: number, limits: Schema['Guard'], beyond: boolean): Verdict {
  if (seen < limits.requests_min) return 'counting';
  return beyond ? 'beyond' : 'within';
}
