import type { Schema } from '@/lib/api/client';

type BlastRadius = Schema['BlastRadius'];

/** How many models share a host with this one, and how many of them have no other. */
export interface Reach {
  neighbours: number;
  /** They are on as many hosts as this model: on all that it could harm. */
  onAll: number;
}

export function reach({ hosts, sharing }: BlastRadius): Reach {
  const counts = sharing.map((group) => ({ hosts: group.hosts, models: group.own.length + group.others }));
  return {
    neighbours: sum(counts),
    onAll: sum(counts.filter((group) => group.hosts === hosts)),
  };
}

/** What that means, in a sentence. */
export function reachWords(radius: BlastRadius): string {
  const { neighbours, onAll } = reach(radius);
  if (radius.hosts === 0) return 'It is on no host now, so it disturbs nobody and nobody disturbs it.';
  if (neighbours === 0) return `It has ${counted(radius.hosts, 'host')} to itself.`;
  const some = `If it harmed all of its ${counted(radius.hosts, 'host')}, ${counted(neighbours, 'other model')} would notice`;
  if (onAll === 0) return `${some}, and every one of them may have another host.`;
  return onAll === neighbours
    ? `${some}: all of them are on each of these hosts.`
    : `${some}. ${onAll} of them ${onAll === 1 ? 'is' : 'are'} on each of these hosts, the others only on some.`;
}

export function counted(count: number, noun: string): string {
  return `${count} ${count === 1 ? noun : `${noun}s`}`;
}

function sum(groups: readonly { models: number }[]): number {
  return groups.reduce((total, group) => total + group.models, 0);
}
