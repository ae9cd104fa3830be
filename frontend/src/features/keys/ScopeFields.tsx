import { Button, Checkbox, Group } from '@mantine/core';
import type { ReactElement } from 'react';

import type { Scope } from '@/lib/keys';

import classes from './KeysPage.module.css';
import { isPreset, presetsOf, scopesOf } from './scopes';

interface Props {
  /** What may be given. */
  own: readonly Scope[];
  scopes: readonly Scope[];
  onChange: (scopes: Scope[]) => void;
  error: string | undefined;
}

export function ScopeFields({ own, scopes, onChange, error }: Props): ReactElement {
  const choices = scopesOf(own);
  return (
    <Checkbox.Group
      label="What it may do"
      value={[...scopes]}
      onChange={(chosen) =>
        onChange(choices.map(({ scope }) => scope).filter((scope) => chosen.includes(scope)))
      }
      error={error}
    >
      <Group gap="xs" my="xs">
        {presetsOf(own).map((preset) => {
          const chosen = isPreset(preset, scopes);
          return (
            <Button
              key={preset.label}
              size="compact-sm"
              variant={chosen ? 'filled' : 'default'}
              aria-pressed={chosen}
              onClick={() => onChange(preset.scopes)}
            >
              {preset.label}
            </Button>
          );
        })}
      </Group>
      <div className={classes.choices}>
        {choices.map(({ scope, means }) => (
          <Checkbox key={scope} value={scope} label={scope} description={means} />
        ))}
      </div>
    </Checkbox.Group>
  );
}
