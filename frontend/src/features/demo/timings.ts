export interface Timing {
  name: string;
  what: string;
  ms: number;
}

const HOST_PARTS = ['queue', 'load', 'batch', 'run'] as const;

/**
 * Where the time of a request went, from what its answer's Server-Timing says (milliseconds) and the time until
 * the answer was here. Adds up to `totalMs`; parts that took nothing are left out, but for the run.
 */
export function timingsOf(header: string | null, totalMs: number): Timing[] {
  const told = parseServerTiming(header ?? '');
  const of = (name: string) => told.get(name) ?? 0;
  const inHost = HOST_PARTS.reduce((sum, name) => sum + of(name), 0);
  const inPlatform = of('auth') + Math.max(of('route') + of('forward'), inHost);
  const parts: Timing[] = [
    { name: 'network and browser', what: 'to the gateway and back', ms: totalMs - inPlatform },
    { name: 'gateway', what: 'who asks, which host, and the way there', ms: inPlatform - inHost },
    { name: 'queue', what: 'until its turn came', ms: of('queue') + of('batch') },
    { name: 'load', what: 'the model came into memory', ms: of('load') },
    { name: 'run', what: 'the model itself', ms: of('run') },
  ];
  return parts
    .map((part) => ({ ...part, ms: Math.max(0, part.ms) }))
    .filter(({ name, ms }) => ms > 0 || name === 'run');
}

/** `auth;dur=0.574, run;dur=0.283` as milliseconds by name. What cannot be read is left out. */
export function parseServerTiming(header: string): Map<string, number> {
  const metrics = header.split(',').flatMap((metric): [string, number][] => {
    const [name = '', ...parameters] = metric.split(';').map((part) => part.trim());
    const told = parameters.find((parameter) => parameter.startsWith('dur='));
    const ms = Number(told?.slice('dur='.length));
    return name !== '' && told !== undefined && Number.isFinite(ms) && ms >= 0 ? [[name, ms]] : [];
  });
  return new Map(metrics);
}
