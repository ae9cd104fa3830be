import { Button } from '@mantine/core';
import type { ReactElement } from 'react';

import { csv, json, save } from './download';
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
        onClick={() => save(csv(lines), 'audit.csv', 'text/csv')}
      >
        Download CSV
      </Button>
      <Button
        size="xs"
        variant="default"
        disabled={none}
        onClick={() => save(json(lines), 'audit.json', 'application/json')}
      >
        Download JSON
      </Button>
    </>
  );
}
