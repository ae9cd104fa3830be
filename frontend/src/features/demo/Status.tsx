import { Button } from '@mantine/core';
import type { ReactElement } from 'react';

import { ApiError } from '@/lib/api/client';

import type { Seen } from './digit';
import classes from './Status.module.css';

/** What is amiss with the last request, and what happens next. */
export function Status({ seen, onAgain }: { seen: Seen; onAgain: () => void }): ReactElement | null {
  const { error, pending, answer } = seen;
  if (error !== null) {
    return (
      <div className={classes.status} role="alert">
        <p>{reason(error, pending)}</p>
        {!pending && (
          <Button size="compact-sm" variant="default" onClick={onAgain}>
            Try again
          </Button>
        )}
      </div>
    );
  }
  if (pending && answer === null) {
    return (
      <p className={classes.late} role="status">
        It takes a moment: a model that nobody asked for a while is being loaded. The next answer comes at
        once.
      </p>
    );
  }
  return null;
}

function reason(error: Error, pending: boolean): string {
  if (!(error instanceof ApiError)) return error.message;
  if (error.status === 429 && pending) {
    return 'Many are trying this model right now. Your digit is sent as soon as it is your turn.';
  }
  return pending ? `${error.message} It is asked again by itself.` : error.message;
}
