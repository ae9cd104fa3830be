import { Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import type { Schema } from '@/lib/api/client';
import { formatMs } from '@/lib/format';

import { Fact, Facts } from '../Facts';
import { formatError } from './errors';

/** Whether a prepared form is served, or why the file is served as it came. */
export function OptimisationPanel({ optimisation }: { optimisation: Schema['Optimisation'] }): ReactElement {
  const { reason, uploaded_load_ms, load_ms, largest_difference, relative_tolerance, absolute_tolerance } =
    optimisation;
  return (
    <Panel
      title="Optimisation"
      description="A form with its weights in a file of their own loads faster. It is kept only where it answers like the uploaded file."
    >
      {reason === null ? (
        <Facts>
          <Fact
            label="Loads in"
            value={formatMs(load_ms)}
            means={`Instead of ${formatMs(uploaded_load_ms)}, which the uploaded file takes in the same process.`}
          />
          <Fact
            label="Largest difference"
            value={formatError(largest_difference)}
            means={`Of any number, relative to the largest of its output. Allowed were ${formatError(relative_tolerance)} of a number itself or ${formatError(absolute_tolerance)} of the largest.`}
          />
        </Facts>
      ) : (
        <Text size="sm">The file is served as it was uploaded: {reason}.</Text>
      )}
    </Panel>
  );
}
