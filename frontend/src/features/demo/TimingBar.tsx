import type { ReactElement } from 'react';

import { formatMs } from '@/lib/format';

import type { Answer } from './answer';
import classes from './TimingBar.module.css';

/** Where the time of the last request went, by its answer's Server-Timing. */
export function TimingBar({ answer }: { answer: Answer }): ReactElement {
  return (
    <div>
      <p className={classes.total}>
        <b>{formatMs(answer.totalMs)}</b> from asking to answer
        {answer.version !== null && ` · version ${answer.version}`}
      </p>
      <div className={classes.bar} aria-hidden="true">
        {answer.timings.map(({ name, ms }) => (
          <span key={name} data-part={name} style={{ flexGrow: ms }} />
        ))}
      </div>
      <ul className={classes.parts} aria-label="Where the time went">
        {answer.timings.map(({ name, what, ms }) => (
          <li key={name} title={what}>
            <span className={classes.key} data-part={name} /> {name} <b>{formatMs(ms)}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}
