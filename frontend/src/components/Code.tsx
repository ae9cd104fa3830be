import { lazy, type ReactElement, Suspense } from 'react';

import classes from './Code.module.css';
import { Copy } from './Copy';

const Highlighted = lazy(() => import('./Highlighted'));

export type Language = 'bash' | 'go' | 'javascript' | 'json' | 'python' | 'r';

/** Colouring a longer text would hang the page. */
const COLOURED_LENGTH_MAX = 50_000;

interface Props {
  code: string;
  language: Language;
  /** For who cannot see it: "Copy {what}". */
  what: string;
}

/** Code to read and copy. Colours arrive later than the text. */
export function Code({ code, language, what }: Props): ReactElement {
  return (
    <div className={classes.frame}>
      <div className={classes.copy}>
        <Copy text={code} what={what} />
      </div>
      <pre className={classes.code} tabIndex={0} aria-label={what} data-language={language}>
        {code.length > COLOURED_LENGTH_MAX ? (
          <code>{code}</code>
        ) : (
          <Suspense fallback={<code>{code}</code>}>
            <Highlighted code={code} language={language} />
          </Suspense>
        )}
      </pre>
    </div>
  );
}
