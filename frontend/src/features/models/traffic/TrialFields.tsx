import { Group, NumberInput } from '@mantine/core';
import type { ReactElement } from 'react';

import type { Draft } from './draft';
import { LimitFields } from './LimitFields';

interface Props {
  draft: Draft;
  onChange: (part: Partial<Draft>) => void;
}

/** How much a version on trial gets to do, and when it has to go. */
export function TrialFields({ draft, onChange }: Props): ReactElement {
  const shadow = draft.mode === 'shadow';
  return (
    <>
      <Group align="start">
        {!shadow && (
          <NumberInput
            label="Share of callers"
            description="That it answers."
            suffix=" %"
            min={1}
            max={99}
            allowDecimal={false}
            clampBehavior="strict"
            value={draft.percent}
            onChange={(value) => typeof value === 'number' && onChange({ percent: value })}
          />
        )}
        <NumberInput
          label="Compared requests"
          description="That both versions run."
          suffix=" %"
          min={shadow ? 1 : 0}
          max={100}
          allowDecimal={false}
          clampBehavior="strict"
          value={shadow ? Math.max(1, draft.mirrorPercent) : draft.mirrorPercent}
          onChange={(value) => typeof value === 'number' && onChange({ mirrorPercent: value })}
        />
      </Group>
      <LimitFields limits={draft.limits} onChange={(limits) => onChange({ limits })} />
    </>
  );
}
