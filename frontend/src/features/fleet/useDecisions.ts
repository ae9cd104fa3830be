import { useInfiniteQuery, useQuery } from '@tanstack/react-query';

import { type Decision, decisionsQuery, latestDecisionsQuery } from './queries';

/** Decisions, newest first. What came since they were read is counted and held back: nothing moves by itself. */
export function useDecisions(model: string) {
  const pages = useInfiniteQuery(decisionsQuery(model));
  const latest = useQuery(latestDecisionsQuery(model));
  const shown: Decision[] = pages.data?.pages.flatMap((page) => page.decisions) ?? [];
  const newest = shown[0]?.number ?? 0;
  const newer = pages.data ? (latest.data?.decisions ?? []).filter((one) => one.number > newest).length : 0;
  return { pages, shown, newer };
}
