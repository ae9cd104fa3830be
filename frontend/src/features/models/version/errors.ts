/** A small number as people compare them: `7.6e-6`, `0`. */
export function formatError(error: number): string {
  if (error === 0) return '0';
  if (!Number.isFinite(error)) return 'no number';
  return error >= 0.01 && error < 1000 ? String(Number(error.toPrecision(2))) : error.toExponential(1);
}
