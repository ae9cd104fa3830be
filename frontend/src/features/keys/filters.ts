import type { Key } from '@/lib/keys';

export interface Filters {
  kind: Key['kind'] | null;
  modelId: string | null;
  working: 'working' | 'ended' | 'all';
}

export const ALL: Filters = { kind: null, modelId: null, working: 'all' };
export const WORKING: Filters = { ...ALL, working: 'working' };

export const KINDS: readonly { value: Key['kind']; label: string }[] = [
  { value: 'api_key', label: 'API key' },
  { value: 'model_token', label: 'Model token' },
  { value: 'demo_token', label: 'Demo token' },
];

export function kindLabel(kind: Key['kind']): string {
  return KINDS.find(({ value }) => value === kind)?.label ?? kind;
}

/** `expiring` and `rotated` still do. */
export function works(key: Pick<Key, 'state'>): boolean {
  return key.state !== 'revoked' && key.state !== 'expired';
}

/** Whether a new secret can take its place. The demo's token is public, and replaced where the demo is chosen. */
export function mayRotate(key: Pick<Key, 'state' | 'kind'>): boolean {
  return works(key) && key.state !== 'rotated' && key.kind !== 'demo_token';
}

export function matching(keys: readonly Key[], filters: Filters): Key[] {
  return keys.filter(
    (key) =>
      (filters.kind === null || key.kind === filters.kind) &&
      (filters.modelId === null || key.model_id === filters.modelId) &&
      (filters.working === 'all' || works(key) === (filters.working === 'working')),
  );
}
