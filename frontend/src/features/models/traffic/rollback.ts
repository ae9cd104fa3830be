import type { Schema } from '@/lib/api/client';

export interface WayBack {
  button: string;
  /** What comes of it. */
  words: string;
  request: Schema['RollBack'];
}

/** What a rollback does now; null when there is nothing to go back to. */
export function wayBack({ active, previous, candidate, activating }: Schema['Traffic']): WayBack | null {
  if (candidate) {
    return {
      button: 'End the trial',
      words: `Version ${candidate.version} stops answering and running. Version ${active ?? ''} answers all callers at once.`,
      request: { version: null },
    };
  }
  if (activating !== null) {
    return {
      button: `Keep version ${activating} out`,
      words: `Version ${activating} does not take over. ${active === null ? 'Nothing answers.' : `Version ${active} goes on answering.`}`,
      request: { version: null },
    };
  }
  if (previous === null) return null;
  return {
    button: `Roll back to version ${previous}`,
    words: `Version ${previous} answers all callers at once instead of version ${active ?? ''}. Hosts that have not loaded it do so when it is asked for, so first answers may be slow.`,
    request: { version: previous },
  };
}
