import type { ReactElement, ReactNode } from 'react';

import classes from './Facts.module.css';

interface FactProps {
  label: string;
  value: ReactNode;
  /** What that is, in one sentence. Without it the value has the room. */
  means?: ReactNode;
}

/** Things that are known, one below the other. */
export function Facts({ children }: { children: ReactNode }): ReactElement {
  return <dl className={classes.facts}>{children}</dl>;
}

export function Fact({ label, value, means }: FactProps): ReactElement {
  return (
    <div className={classes.fact}>
      <dt>{label}</dt>
      <dd className={`${classes.value ?? ''} ${means ? '' : (classes.wide ?? '')}`}>{value}</dd>
      {means && <dd className={classes.means}>{means}</dd>}
    </div>
  );
}
