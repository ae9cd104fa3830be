import type { ReactElement } from 'react';

import classes from './Facts.module.css';

const FACTS: readonly { fact: string; because: string }[] = [
  {
    fact: 'It answers as your model does',
    because:
      'Every upload leaves a receipt: which rows were compared, how far apart the answers were, and what they ran on. A model whose copy differs is refused with the rows that show it.',
  },
  {
    fact: 'Your rows are yours',
    because:
      'Requests share a run only where a certificate, derived from the model’s graph, says that no row can touch another’s answer. Every other model is asked one request at a time.',
  },
  {
    fact: 'A hostile model gets nowhere',
    because:
      'Files are checked against a list of what a model may hold, and run in processes without network, files or privileges. One that hangs or crashes hosts is put into quarantine.',
  },
  {
    fact: 'Every decision has its reason',
    because:
      'Where a model is, why a host started, what a request waited for: timings come with each answer, reasons with each decision, and nothing has to be guessed.',
  },
];

/** What is promised, and what stands behind it. */
export function Facts(): ReactElement {
  return (
    <section className={classes.facts} aria-labelledby="facts-title">
      <h2 id="facts-title" className={classes.title}>
        What you can rely on
      </h2>
      <dl className={classes.list}>
        {FACTS.map(({ fact, because }) => (
          <div key={fact}>
            <dt>{fact}</dt>
            <dd>{because}</dd>
          </div>
        ))}
      </dl>
    </section>
  );
}
