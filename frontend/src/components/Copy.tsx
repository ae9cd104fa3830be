import { Button, CopyButton } from '@mantine/core';
import type { ReactElement } from 'react';

/** Copies `text`, and says that it did. `what`: for who cannot see it, such as "the API key". */
export function Copy({ text, what }: { text: string; what: string }): ReactElement {
  return (
    <CopyButton value={text} timeout={2000}>
      {({ copied, copy }) => (
        <Button size="compact-xs" variant="default" onClick={copy} aria-label={`Copy ${what}`}>
          <span aria-live="polite">{copied ? 'Copied' : 'Copy'}</span>
        </Button>
      )}
    </CopyButton>
  );
}
