import type { ReactElement } from 'react';

import classes from './HowItWorks.module.css';

const STEPS: readonly { title: string; text: string; drawing: ReactElement }[] = [
  {
    title: 'Converted where it was trained',
    text: 'The client turns your model into ONNX, runs both, and compares their answers row by row. A copy that answers otherwise stays where it is.',
    drawing: (
      <>
        <circle cx="16" cy="24" r="9" />
        <path d="M29 24h14m-5-5 5 5-5 5" />
        <rect x="48" y="15" width="18" height="18" rx="3" />
        <path d="m52 24 3.500 3.500 6.500-7" />
      </>
    ),
  },
  {
    title: 'Examined in a closed room',
    text: 'Its bytes go to storage under their checksum. A host opens the file in a process that can reach nothing, and measures what it costs.',
    drawing: (
      <>
        <rect x="20" y="6" width="40" height="36" rx="4" strokeDasharray="5 4" />
        <rect x="31" y="15" width="18" height="18" rx="3" />
        <path d="M4 24h12" />
      </>
    ),
  },
  {
    title: 'Kept where it is needed',
    text: 'Models share hosts and stay in memory while they are likely to be asked for. More hosts start with the load, and stop when it has gone.',
    drawing: (
      <>
        <rect x="8" y="8" width="18" height="14" rx="2" />
        <rect x="31" y="8" width="18" height="14" rx="2" />
        <rect x="54" y="8" width="18" height="14" rx="2" strokeDasharray="4 3" />
        <rect x="8" y="27" width="18" height="14" rx="2" />
        <rect x="31" y="27" width="18" height="14" rx="2" />
        <rect x="54" y="27" width="18" height="14" rx="2" strokeDasharray="4 3" />
      </>
    ),
  },
  {
    title: 'Replaced without a gap',
    text: 'The same name again is a new version at the same address. It is loaded before it takes the traffic, all of it or a part, and rolled back as fast.',
    drawing: (
      <>
        <path d="M6 24h20c10 0 10-13 20-13h24m-5-5 5 5-5 5" />
        <path d="M26 24c10 0 10 13 20 13h24m-5-5 5 5-5 5" strokeDasharray="5 4" />
      </>
    ),
  },
];

export function HowItWorks(): ReactElement {
  return (
    <section id="how" className={classes.how} aria-labelledby="how-title">
      <h2 id="how-title" className={classes.title}>
        What that line does
      </h2>
      <ol className={classes.steps}>
        {STEPS.map(({ title, text, drawing }) => (
          <li key={title}>
            <svg viewBox="0 0 80 48" className={classes.drawing} aria-hidden="true">
              {drawing}
            </svg>
            <h3>{title}</h3>
            <p>{text}</p>
          </li>
        ))}
      </ol>
    </section>
  );
}
