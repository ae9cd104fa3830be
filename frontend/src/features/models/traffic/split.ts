import type { Schema } from '@/lib/api/client';

export interface Share {
  version: number;
  role: 'active' | 'candidate';
  /** Of callers. */
  percent: number;
}

/** Who answers how many callers; nobody while no version is active. */
export function shares({ active, candidate }: Schema['Traffic']): Share[] {
  if (active === null) return [];
  const tried = candidate?.percent ?? 0;
  const found: Share[] = [{ version: active, role: 'active', percent: 100 - tried }];
  if (candidate && tried > 0) found.push({ version: candidate.version, role: 'candidate', percent: tried });
  return found;
}

/** Who answers, in a sentence or two. */
export function splitWords(traffic: Schema['Traffic']): string {
  const { active, candidate } = traffic;
  if (active === null) return 'No version answers yet.';
  if (!candidate) return `Version ${active} answers all callers.`;
  const shadow =
    candidate.mirror_percent > 0
      ? ` ${candidate.mirror_percent} % of requests are run by both, and the answers compared.`
      : '';
  if (candidate.percent === 0) return `Version ${active} answers all callers.${shadow}`;
  return `Version ${active} answers ${100 - candidate.percent} % of callers, version ${candidate.version} ${candidate.percent} %.${shadow}`;
}
