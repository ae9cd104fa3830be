import type { Schema } from '@/lib/api/client';

type Change = Schema['Change'];
type Split = Schema['Split'];

/** What changed, in a few words. */
export function changeWords({ from, to }: Change): string {
  if (to.active !== from.active) return takeover(from, to);
  if (to.candidate === null) return `Trial of version ${from.candidate ?? '–'} ended`;
  if (to.candidate !== from.candidate) return `Version ${to.candidate} on trial: ${trial(to)}`;
  return `Trial of version ${to.candidate} changed: ${trial(to)}`;
}

function takeover(from: Split, to: Split): string {
  if (to.active === null) return 'Nothing answers any more';
  const whom = from.active === null ? '' : ` from version ${from.active}`;
  return `Version ${to.active} took over${whom}`;
}

function trial({ percent, mirror_percent }: Split): string {
  const parts = [
    percent > 0 && `${percent} % of callers`,
    mirror_percent > 0 && `${mirror_percent} % of requests in shadow`,
  ];
  return parts.filter(Boolean).join(', ');
}

/** Why, where it says more than the change itself; empty else. */
export function whyWords({ why }: Change): string {
  return ['activated', 'candidate', 'taken away'].includes(why) ? '' : why;
}

/** A candidate that went because it was beyond its limits. */
export function isAutomatic({ why }: Change): boolean {
  return why.startsWith('rolled back automatically');
}
