import type { Schema } from '@/lib/api/client';
import type { Version } from '@/lib/models';

import { DEFAULT_LIMITS, type Limits } from './limits';

export type Mode = 'canary' | 'shadow' | 'all';

/** A change of traffic as it is being put together. */
export interface Draft {
  mode: Mode;
  version: number;
  percent: number;
  mirrorPercent: number;
  limits: Limits;
}

/** Versions that could be given traffic, the newest first: ready ones that do not have all of it. */
export function eligible(versions: readonly Version[], { active }: Schema['Traffic']): number[] {
  return versions
    .filter(({ state, number }) => state === 'ready' && number !== active)
    .map(({ number }) => number)
    .sort((one, other) => other - one);
}

/** What a form begins with: the trial under way, else a small one of the newest version. */
export function firstDraft({ active, candidate }: Schema['Traffic'], versions: readonly number[]): Draft {
  const draft: Draft = {
    mode: active === null ? 'all' : 'canary',
    version: versions[0] ?? 0,
    percent: 10,
    mirrorPercent: 0,
    limits: DEFAULT_LIMITS,
  };
  if (!candidate) return draft;
  const { version, percent, mirror_percent: mirrorPercent, limits } = candidate;
  if (percent === 0) return { ...draft, mode: 'shadow', version, mirrorPercent, limits };
  return { ...draft, version, percent, mirrorPercent, limits };
}

/** The request that makes it so. */
export function changeOf({ mode, version, percent, mirrorPercent, limits }: Draft): Schema['ChangeTraffic'] {
  switch (mode) {
    case 'canary':
      return { version, percent, mirror_percent: mirrorPercent, limits };
    case 'shadow':
      return { version, percent: 0, mirror_percent: Math.max(1, mirrorPercent), limits };
    case 'all':
      return { version, percent: 100, mirror_percent: 0, limits: DEFAULT_LIMITS };
  }
}

/** The button: what is done, with its number. */
export function actionWords(
  { mode, version, percent, mirrorPercent }: Draft,
  candidate: number | null,
): string {
  if (mode === 'all') return `Give version ${version} all traffic`;
  if (candidate === version) return `Change the trial of version ${version}`;
  return mode === 'canary'
    ? `Start with ${percent} % of callers`
    : `Start with ${Math.max(1, mirrorPercent)} % of requests`;
}
