import type { ReactElement, ReactNode } from 'react';

import classes from './Scroll.module.css';

/** What may be wider than its place, such as a table: it scrolls by itself, by keyboard as well. */
export function Scroll({ label, children }: { label: string; children: ReactNode }): ReactElement {
  return (
    <div className={classes.scroll} role="region" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}
