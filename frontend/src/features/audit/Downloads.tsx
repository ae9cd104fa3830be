import { Button } from '@mantine/core';
import type { ReactElement } from 'react';

import { download } from '@/lib/download';

import { csv, json } from './files';
import type { AuditLine } from './queries';

/** What is shown, as a file. */
export function Downloads({ lines }: { lines: readonly AuditLine[] }): ReactElement {
  const none = lines.length === 0;
  return (
    <>
      <Button
        size="xs"
        variant="default"
        disabled={none}
        onClick={() => download('audit.csv', csv(lines), 'text/csv')}
      >
        Download CSV
      </Button>
      <Button
        size="xs"
        variant="default"
        disabled={none}
        onClick={() => download('audit.json', json(lines), 'application/json')}
      >
        Download JSON
      </Button>
    </>
  );
}
