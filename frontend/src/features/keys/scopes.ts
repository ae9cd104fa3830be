import type { Scope } from '@/lib/keys';

export interface ScopeChoice {
  scope: Scope;
  means: string;
}

/** One sentence each. In the order in which they are shown. */
export const SCOPES: readonly ScopeChoice[] = [
  { scope: 'infer', means: 'Run any model of this account.' },
  { scope: 'models:read', means: 'See models, versions, reports, traffic, metrics and usage.' },
  { scope: 'models:write', means: 'Upload, activate, roll back and delete models.' },
  {
    scope: 'keys',
    means:
      'List, make, rotate and revoke keys; an upload brings a model token along. For people, not programs.',
  },
  { scope: 'operate', means: 'See and operate the whole platform, not this account alone.' },
];

const PRESETS: readonly { label: string; scopes: readonly Scope[] }[] = [
  { label: 'Deploy from Python', scopes: ['infer', 'models:read', 'models:write'] },
  { label: 'Only call models', scopes: ['infer'] },
  { label: 'Everything', scopes: SCOPES.map(({ scope }) => scope) },
];

export interface Preset {
  label: string;
  scopes: Scope[];
}

/** What may be given by who has `own`: nobody can give a scope that they do not have. */
export function scopesOf(own: readonly Scope[]): ScopeChoice[] {
  return SCOPES.filter(({ scope }) => own.includes(scope));
}

export function presetsOf(own: readonly Scope[]): Preset[] {
  return PRESETS.map(({ label, scopes }) => ({ label, scopes: scopes.filter((one) => own.includes(one)) }));
}

export function isPreset(preset: Preset, scopes: readonly Scope[]): boolean {
  return preset.scopes.length === scopes.length && preset.scopes.every((scope) => scopes.includes(scope));
}
