/** Where the time of a request went, from its Server-Timing header. Pure. */

export interface Part {
  id: 'network' | 'auth' | 'gateway' | 'queue' | 'load' | 'batch' | 'run';
  label: string;
  ms: number;
}

const LABELS: Readonly<Record<Part['id'], string>> = {
  network: 'To the server and back',
  auth: 'Checking the token',
  gateway: 'Finding a host, and sending',
  queue: 'Waiting in the queue',
  load: 'Loading the model',
  batch: 'Reading, writing, sharing a run',
  run: 'Running the model',
};
const ON_HOST = ['queue', 'load', 'batch', 'run'] as const;

/** `auth;dur=0.5, route;dur=2.1` → milliseconds by name. */
export function parseTimings(header: string): ReadonlyMap<string, number> {
  const found = [...header.matchAll(/([\w-]+)(?:;[^,]*?)?;dur=([\d.]+)/g)];
  return new Map(found.map(([, name = '', ms = '']) => [name, Number(ms)]));
}

/** In the order in which they pass, and adding up to `totalMs`: what the browser waited. None where nothing is told. */
export function partsOf(header: string, totalMs: number): Part[] {
  const told = parseTimings(header);
  const auth = told.get('auth') ?? 0;
  const route = told.get('route');
  if (route === undefined) return [];
  const host = ON_HOST.map((id) => part(id, told.get(id) ?? 0));
  const onHost = host.reduce((sum, { ms }) => sum + ms, 0);
  const parts = [
    part('network', totalMs - auth - route),
    part('auth', auth),
    part('gateway', route - onHost),
    ...host,
  ];
  return parts.filter(({ id, ms }) => ms > 0 || id === 'run');
}

function part(id: Part['id'], ms: number): Part {
  return { id, label: LABELS[id], ms: Math.max(0, ms) };
}
