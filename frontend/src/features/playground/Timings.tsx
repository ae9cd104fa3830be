import type { ReactElement } from 'react';

import { formatMs } from '@/lib/format';

import classes from './answers.module.css';
import { type Part, partsOf } from './timings';

/** Where the time went: a bar in parts, and the same in numbers. */
export function Timings({ header, totalMs }: { header: string; totalMs: number }): ReactElement | null {
  const parts = partsOf(header, totalMs);
  if (parts.length === 0) return null;
  return (
    <div>
      <div className={classes.stack} aria-hidden="true">
        {parts.map(({ id, ms }) => (
          <div key={id} className={classes.part} data-part={id} style={{ flexGrow: ms }} />
        ))}
      </div>
      <table className={classes.parts}>
        <caption>Where {formatMs(totalMs)} went</caption>
        <thead className={classes.unseen}>
          <tr>
            <th scope="col">Part</th>
            <th scope="col">Time</th>
          </tr>
        </thead>
        <tbody>
          {parts.map((part) => (
            <Line key={part.id} {...part} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Line({ id, label, ms }: Part): ReactElement {
  return (
    <tr>
      <th scope="row">
        <span className={classes.key} data-part={id} aria-hidden="true" />
        {label}
      </th>
      <td>{formatMs(ms)}</td>
    </tr>
  );
}
