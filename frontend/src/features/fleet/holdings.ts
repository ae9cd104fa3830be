import { formatBytes } from '@/lib/format';

import type { HostedVersion } from './queries';
import { legible, type Rectangle, treemap } from './treemap';

const SHOWN_MAX = 14;
const LEAST_SHARE = 0.05;
const HUES = 360;
/** The golden angle: sums that are near give colours that are not. */
const GOLDEN = 137.508;

/** One version on the picture of a host. */
export interface Block {
  version: HostedVersion;
  place: Rectangle;
}

export interface Picture {
  blocks: Block[];
  /** How many more there are than blocks, and where that is said; null where all are shown. */
  rest: { count: number; place: Rectangle } | null;
}

/** The largest versions of a host as blocks of `width` × `height`; `total`: how many it holds in all. */
export function picture(
  versions: readonly HostedVersion[],
  total: number,
  { width, height }: { width: number; height: number },
): Picture {
  const largest = versions.toSorted((a, b) => bytesOf(b) - bytesOf(a) || a.name.localeCompare(b.name));
  const shown = largest.slice(0, Math.max(total, versions.length) > SHOWN_MAX ? SHOWN_MAX - 1 : SHOWN_MAX);
  const count = Math.max(total, versions.length) - shown.length;
  const bytes = shown.map(bytesOf);
  if (count > 0) bytes.push(0);
  const places = treemap(legible(bytes, LEAST_SHARE), width, height);
  const last = places.at(-1);
  return {
    blocks: shown.flatMap((version, at) => {
      const place = places[at];
      return place ? [{ version, place }] : [];
    }),
    rest: count > 0 && last ? { count, place: last } : null,
  };
}

/** A colour, in degrees: the same for a model wherever it is drawn. */
export function hue(modelId: string): number {
  let sum = 0;
  for (const character of modelId) sum = (sum * 31 + character.charCodeAt(0)) >>> 0;
  return (sum * GOLDEN) % HUES;
}

const STATES: Readonly<Record<NonNullable<HostedVersion['state']>, string>> = {
  ready: 'loaded',
  loading: 'loading',
  stored: 'on disk',
  assigned: 'on its way',
  draining: 'leaving',
  failed: 'failed to load',
};

/** Where it stands on the host, in words. */
export function stateInWords(state: HostedVersion['state']): string {
  return state === null ? 'on its way' : STATES[state];
}

/** `digits, version 2: loaded, 340 kB`. */
export function inWords(version: HostedVersion): string {
  const memory = version.memory_bytes === null ? 'not measured' : formatBytes(version.memory_bytes);
  return `${version.name}, version ${version.number}: ${stateInWords(version.state)}, ${memory}`;
}

function bytesOf(version: HostedVersion): number {
  return version.memory_bytes ?? 0;
}
