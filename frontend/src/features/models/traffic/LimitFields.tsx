import { NumberInput } from '@mantine/core';
import type { ReactElement } from 'react';

import { LIMIT_FIELDS, type Limits } from './limits';
import classes from './LimitFields.module.css';

interface Props {
  limits: Limits;
  onChange: (limits: Limits) => void;
}

/** When the candidate is taken away by itself. */
export function LimitFields({ limits, onChange }: Props): ReactElement {
  return (
    <details className={classes.limits}>
      <summary>
        Limits: {limits.errors_percent_max} % errors, {limits.drift_percent_max} % other answers,{' '}
        {limits.latency_ratio_max} times as slow
      </summary>
      <div className={classes.fields}>
        {LIMIT_FIELDS.map(({ name, label, means, min, max, step, suffix }) => (
          <NumberInput
            key={name}
            label={label}
            description={means}
            suffix={suffix}
            min={min}
            max={max}
            step={step}
            allowDecimal={name !== 'requests_min'}
            value={limits[name]}
            onChange={(value) => typeof value === 'number' && onChange({ ...limits, [name]: value })}
          />
        ))}
      </div>
    </details>
  );
}
