import { ApiError } from '@/lib/api/client';

const NAMED = /^(?<field>\w+): (?<text>.+)$/s;
const MISFORMED = /^(?<text>.+?) - at `\$\.(?<field>\w+)`$/s;

/** What the API says of one field of a form, by that field; nothing where it speaks of the whole. */
export function fieldRefusals(error: Error | null, fields: readonly string[]): Record<string, string> {
  const said = error instanceof ApiError && error.status === 400 ? error.message : '';
  const { field, text } = (NAMED.exec(said) ?? MISFORMED.exec(said))?.groups ?? {};
  return field && text && fields.includes(field) ? { [field]: sentence(text) } : {};
}

function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** Until when, in milliseconds since 1970, the API lets nobody try again; null where it does not say. */
export function closedUntil(error: Error | null, refusedAt: number): number | null {
  if (!(error instanceof ApiError) || error.status !== 429 || error.retryAfterSeconds === null) return null;
  return refusedAt + error.retryAfterSeconds * 1000;
}
