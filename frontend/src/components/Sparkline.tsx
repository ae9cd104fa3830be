import type { ReactElement } from 'react';

import classes from './Sparkline.module.css';

const WIDTH = 120;
const HEIGHT = 28;

interface Props {
  /** Oldest first, evenly spaced. */
  values: readonly number[];
  /** Of the same length: drawn in red over them. */
  errors?: readonly number[];
  label: string;
}

/** A line without axes. `label` says in words what it shows. */
export function Sparkline({ values, errors, label }: Props): ReactElement {
  const top = Math.max(1, ...values);
  return (
    <svg
      className={classes.line}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      role="img"
      aria-label={label}
      preserveAspectRatio="none"
    >
      <polyline className={classes.values} points={points(values, top)} />
      {errors?.some((count) => count > 0) && (
        <polyline className={classes.errors} points={points(errors, top)} />
      )}
    </svg>
  );
}

export function points(values: readonly number[], top: number): string {
  const step = values.length > 1 ? WIDTH / (values.length - 1) : 0;
  return values
    .map(
      (value, index) =>
        `${(index * step).toFixed(1)},${(HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1)}`,
    )
    .join(' ');
}
