import { memo, type ReactElement } from 'react';

import { Code } from '@/components/Code';

import classes from './Calls.module.css';
import { sampleOf } from './drawing';
import type { Picture } from './picture';
import { answerText, curlOf, curlOfYours, type Demo, PYTHON, PYTHON_CALL } from './snippets';

const SAMPLE = sampleOf(5).picture;

interface Props {
  demo?: Demo;
  /** What was answered last, and the answer's outputs. */
  asked?: Picture | undefined;
  result?: unknown;
}

/** The line that makes an API of a model, and the call of that API: the demo's last one, where there is one. */
export const Calls = memo(function Calls({ demo, asked, result }: Props): ReactElement {
  return (
    <div className={classes.calls}>
      <section aria-labelledby="in-python">
        <h2 id="in-python" className={classes.title}>
          Deploy <span>from Python: the last line is all of it</span>
        </h2>
        <Code code={PYTHON} language="python" what="the Python code" />
        <h3 className={classes.second}>Call it from Python, with arrays, tables or tensors</h3>
        <Code code={PYTHON_CALL} language="python" what="the call from Python" />
      </section>
      <section aria-labelledby="over-http">
        <h2 id="over-http" className={classes.title}>
          Call <span>from anywhere: {asked ? 'what the demo just sent' : 'plain HTTP and JSON'}</span>
        </h2>
        <Code
          code={demo ? curlOf(demo, asked ?? SAMPLE) : curlOfYours(location.origin)}
          language="bash"
          what="the HTTP call"
        />
        {result !== undefined && (
          <>
            <h3 className={classes.second}>The answer to it</h3>
            <Code code={answerText(result)} language="json" what="the answer" />
          </>
        )}
      </section>
    </div>
  );
});
