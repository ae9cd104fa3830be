import type { Host } from './queries';

export interface Totals {
  hosts: number;
  memoryUsed: number;
  memoryMax: number;
  inFlight: number;
  slots: number;
}

/** Of the hosts that live: a dead one has no memory to give. */
export function totals(hosts: readonly Host[]): Totals {
  const living = hosts.filter((host) => host.heard_of !== 'dead');
  const sum = (of: (host: Host) => number) => living.reduce((total, host) => total + of(host), 0);
  return {
    hosts: living.length,
    memoryUsed: sum((host) => host.memory_bytes_used),
    memoryMax: sum((host) => host.memory_bytes_max),
    inFlight: sum((host) => host.in_flight),
    slots: sum((host) => host.slots),
  };
}

export interface Condition {
  word: string;
  color: 'green' | 'blue' | 'yellow' | 'red';
  /** What it means, where that is not plain. */
  meaning: string | null;
}

/** How a host is, in a word: what is wrong comes first. */
export function condition(host: Host): Condition {
  if (host.heard_of === 'dead')
    return { word: 'dead', color: 'red', meaning: 'It has not been heard of for long: it gets no requests.' };
  if (host.heard_of === 'suspect')
    return { word: 'suspect', color: 'yellow', meaning: 'Its last heartbeats did not come.' };
  if (host.state === 'draining')
    return { word: 'draining', color: 'yellow', meaning: 'It finishes what it has, and ends.' };
  if (host.leaving)
    return {
      word: 'leaving',
      color: 'yellow',
      meaning: 'No model comes to it any more; its models go elsewhere.',
    };
  if (host.state === 'launching')
    return { word: 'launching', color: 'blue', meaning: 'It starts, and takes no requests yet.' };
  return { word: 'ready', color: 'green', meaning: null };
}

/** `1 of 2 slots busy, 3 requests wait`. A request that waits is no busy slot. */
export function slotsInWords({ in_flight: inFlight, slots }: Pick<Host, 'in_flight' | 'slots'>): string {
  const places = Math.max(1, Math.floor(slots));
  const waiting = Math.max(0, inFlight - places);
  const busy = `${Math.min(inFlight, places)} of ${places} ${places === 1 ? 'slot' : 'slots'} busy`;
  if (waiting === 0) return busy;
  return `${busy}, ${waiting} ${waiting === 1 ? 'request waits' : 'requests wait'}`;
}

/** `just now`, or how long a host has been silent. */
export function silence(seconds: number): string {
  if (seconds < 5) return 'just now';
  return seconds < 120 ? `${Math.round(seconds)} s ago` : `${Math.round(seconds / 60)} minutes ago`;
}
