import type { ReactElement } from 'react';

import classes from './Sparkline.module.css';

const WIDTH = 120;
const HEIGHT = 28;

interface Props {
  /** Oldest first, evenly spaced. */
  values: readonly number[];
  /** Of the same length: red sticks over them. */
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
      {errors && <path className={classes.errors} d={sticks(errors, top)} />}
    </svg>
  );
}

export function points(values: readonly number[], top: number): string {
  return values.map((value, index) => `${across(index, values.length)},${up(value, top)}`).join(' ');
}

/** Upright lines where there is something, as tall as `points` are high there. */
export function sticks(values: readonly number[], top: number): string {
  return values
    .map((value, index) => value > 0 && `M${across(index, values.length)},${up(0, top)}V${up(value, top)}`)
    .filter(Boolean)
    .join('');
}

function across(index: number, length: number): string {
  return (length > 1 ? (index * WIDTH) / (length - 1) : 0).toFixed(1);
}

function up(value: number, top: number): string {
  return (HEIGHT - 1 - (value / top) * (HEIGHT - 2)).toFixed(1);
}
