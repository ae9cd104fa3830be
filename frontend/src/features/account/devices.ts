const PROGRAMS: readonly [RegExp, string][] = [
  [/\bEdg(?:e|A|iOS)?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\b(?:Firefox|FxiOS)\//, 'Firefox'],
  [/(?:Chrome|CriOS|Chromium)\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
];
const SYSTEMS: readonly [RegExp, string][] = [
  [/\biPhone\b/, 'iPhone'],
  [/\biPad\b/, 'iPad'],
  [/\bAndroid\b/, 'Android'],
  [/\bCrOS\b/, 'ChromeOS'],
  [/\bWindows\b/, 'Windows'],
  [/\bMac OS X\b/, 'macOS'],
  [/\bLinux\b/, 'Linux'],
];

/** A User-Agent as people say it: `Firefox on Linux`. Programs that are no browser keep their own name. */
export function deviceOf(userAgent: string): string {
  const program = first(PROGRAMS, userAgent);
  const system = first(SYSTEMS, userAgent);
  if (program === null) return userAgent.split(/[\s/]/)[0] ?? '';
  return system === null ? program : `${program} on ${system}`;
}

function first(named: readonly [RegExp, string][], text: string): string | null {
  return named.find(([pattern]) => pattern.test(text))?.[1] ?? null;
}
