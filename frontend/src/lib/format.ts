const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const;
const STEP = 1000;
const COUNT = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });
const EXACT = new Intl.NumberFormat('en');
const WHEN = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const AGO = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
const SPANS: readonly [Intl.RelativeTimeFormatUnit, number][] = [
  ['year', 31_536_000],
  ['month', 2_592_000],
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
];

/** 1536 → `1.5 kB`. */
export function formatBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  while (value >= STEP && unit < UNITS.length - 1) [value, unit] = [value / STEP, unit + 1];
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${UNITS[unit] ?? ''}`;
}

/** 12345 → `12.3K`. */
export function formatCount(count: number): string {
  return COUNT.format(count);
}

/** 12345 → `12,345`. */
export function formatExact(count: number): string {
  return EXACT.format(count);
}

/** Three digits that say something, in µs, ms or s. */
export function formatMs(ms: number | null | undefined): string {
  if (ms === null || ms === undefined) return '–';
  if (ms >= 1000) return `${significant(ms / 1000)} s`;
  return ms >= 1 || ms === 0 ? `${significant(ms)} ms` : `${significant(ms * 1000)} µs`;
}

/** 0.0123 → `1.2 %`. */
export function formatShare(share: number): string {
  return `${significant(share * 100, 2)} %`;
}

export function formatUsd(dollars: number): string {
  if (dollars > 0 && dollars < 0.01) return '< $0.01';
  return new Intl.NumberFormat('en', { style: 'currency', currency: 'USD' }).format(dollars);
}

export function formatTime(iso: string): string {
  return WHEN.format(new Date(iso));
}

/** `3 minutes ago`, `in 2 days`, `just now`. */
export function formatAgo(iso: string, now: number = Date.now()): string {
  const seconds = (new Date(iso).getTime() - now) / 1000;
  const span = SPANS.find(([, length]) => Math.abs(seconds) >= length);
  return span ? AGO.format(Math.trunc(seconds / span[1]), span[0]) : 'just now';
}

/** `[None, 3, 224, 224]` as people write it: `any × 3 × 224 × 224`. */
export function formatShape(shape: readonly (number | null)[]): string {
  return shape.length === 0 ? 'scalar' : shape.map((size) => size ?? 'any').join(' × ');
}

function significant(value: number, digits = 3): string {
  return Number(value.toPrecision(digits)).toLocaleString('en', { maximumFractionDigits: 6 });
}
