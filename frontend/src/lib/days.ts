const DAY = new Intl.DateTimeFormat('en', {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
});
const CLOCK = new Intl.DateTimeFormat('en', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
});

export interface Day<T> {
  day: string;
  entries: T[];
}

/** What happened, in its order, under the days it was on (of this browser's time zone). */
export function byDay<T extends { at: string }>(found: readonly T[]): Day<T>[] {
  const days: Day<T>[] = [];
  for (const one of found) {
    const day = DAY.format(new Date(one.at));
    const last = days.at(-1);
    if (last?.day === day) last.entries.push(one);
    else days.push({ day, entries: [one] });
  }
  return days;
}

/** `07:04:55`: for what stands under its day. */
export function formatClock(iso: string): string {
  return CLOCK.format(new Date(iso));
}
