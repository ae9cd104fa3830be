import { useEffect, useState, type ReactElement } from 'react';

import { formatAgo, formatTime } from '@/lib/format';

const TICK_MS = 30_000;

/** `3 minutes ago`, kept true; the exact time on pointing at it. */
export function Ago({ at }: { at: string }): ReactElement {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_MS);
    return () => clearInterval(timer);
  }, []);
  return (
    <time dateTime={at} title={formatTime(at)}>
      {formatAgo(at, now)}
    </time>
  );
}
