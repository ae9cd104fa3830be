import type { ReactElement } from 'react';

import { useNow } from '@/lib/useNow';

const TICK_MS = 1_000;

/** The time since then, counting. */
export function Elapsed({ since }: { since: string }): ReactElement {
  const now = useNow(TICK_MS);
  return <span>{duration((now - Date.parse(since)) / 1000)}</span>;
}

/** 75 → `1 min 15 s`. A clock that is behind the server's shows nothing negative. */
function duration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
