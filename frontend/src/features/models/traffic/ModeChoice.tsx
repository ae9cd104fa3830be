import { Group, Radio, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import type { Mode } from './draft';
import classes from './ModeChoice.module.css';

const MODES: readonly { mode: Mode; label: string; means: string }[] = [
  { mode: 'canary', label: 'Canary', means: 'It answers a share of the callers.' },
  { mode: 'shadow', label: 'Shadow', means: 'It runs beside the active version and answers nobody.' },
  { mode: 'all', label: 'All traffic', means: 'It takes over, once hosts have loaded it.' },
];

interface Props {
  mode: Mode;
  /** There is an active version to try others beside. */
  mayTry: boolean;
  onChange: (mode: Mode) => void;
}

export function ModeChoice({ mode, mayTry, onChange }: Props): ReactElement {
  return (
    <Radio.Group label="How" value={mode} onChange={(value) => onChange(value)}>
      <div className={classes.modes}>
        {MODES.map((one) => (
          <Radio.Card
            key={one.mode}
            value={one.mode}
            disabled={!mayTry && one.mode !== 'all'}
            className={classes.mode ?? ''}
            aria-label={`${one.label}: ${one.means}`}
          >
            <Group wrap="nowrap" align="start" gap="sm">
              <Radio.Indicator />
              <div>
                <Text fw={600} lh={1.3}>
                  {one.label}
                </Text>
                <Text size="sm" c="dimmed">
                  {one.means}
                </Text>
              </div>
            </Group>
          </Radio.Card>
        ))}
      </div>
    </Radio.Group>
  );
}
