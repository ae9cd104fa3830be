import { Button, Table, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import { formatMs } from '@/lib/format';

import type { Outcome } from './inferring';
import type { Run } from './useRuns';

interface Props {
  runs: readonly Run[];
  /** The one in sight. */
  shown: number;
  onShow: (run: Run) => void;
}

/** The last runs, to compare and to go on from. They are gone when the page is. */
export function History({ runs, shown, onShow }: Props): ReactElement {
  return (
    <Panel title="Last runs" description="Kept until you leave this page.">
      <Scroll label="Table of the last runs">
        <Table>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">When</Table.Th>
              <Table.Th scope="col">Outcome</Table.Th>
              <Table.Th scope="col" ta="right">
                Time
              </Table.Th>
              <Table.Th scope="col">
                <VisuallyHidden>Choice</VisuallyHidden>
              </Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {runs.map((run) => (
              <Table.Tr key={run.id}>
                <Table.Td>
                  <Ago at={run.at} />
                </Table.Td>
                <Table.Td>{told(run.outcome)}</Table.Td>
                <Table.Td ta="right">
                  {run.outcome.kind === 'answered' ? formatMs(run.outcome.totalMs) : '–'}
                </Table.Td>
                <Table.Td ta="right">
                  <Button
                    size="compact-xs"
                    variant="default"
                    disabled={run.id === shown}
                    onClick={() => onShow(run)}
                    aria-label={`${run.id === shown ? 'Shown' : 'Show'}: run ${run.id}`}
                  >
                    {run.id === shown ? 'Shown' : 'Show'}
                  </Button>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Panel>
  );
}

function told(outcome: Outcome): string {
  return outcome.kind === 'answered'
    ? `Answered by version ${outcome.version}`
    : `Refused: ${outcome.error.code}`;
}
