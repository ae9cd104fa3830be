import type { ReactElement } from 'react';

import classes from './Logo.module.css';

export function Logo(): ReactElement {
  return (
    <span className={classes.logo}>
      <img src="/favicon.svg" alt="" width={28} height={28} />
      ModelRocket
    </span>
  );
}
