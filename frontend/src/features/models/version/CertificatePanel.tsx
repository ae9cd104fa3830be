import { Alert, Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import type { Schema } from '@/lib/api/client';

import { type Passport, sharingWords } from './passport';

interface Props {
  certificate: Schema['Certificate'];
  passport: Passport | null;
}

/** Whether rows of different callers may share a run, and the proof. */
export function CertificatePanel({ certificate, passport }: Props): ReactElement {
  const { batchable, evidence, counterexample } = certificate;
  return (
    <Panel
      title="Certificate"
      description="Whether the answer to a row depends on that row alone. It was shown by running rows alone, together, in other orders, repeated and beside extreme ones."
    >
      <Alert
        color={batchable ? 'green' : 'orange'}
        variant="light"
        title={
          batchable
            ? 'Proved: a row’s answer depends on that row alone'
            : 'Not proved: rows may influence each other'
        }
      >
        <Text size="sm">Evidence: {evidence}.</Text>
        <Text size="sm">{sharingWords(certificate, passport)}</Text>
      </Alert>
      {counterexample && <CounterexampleTable found={counterexample} />}
    </Panel>
  );
}

function CounterexampleTable({ found }: { found: Schema['Counterexample'] }): ReactElement {
  const { trial, output, rows, position, expected, got } = found;
  return (
    <>
      <Text size="sm" mt="md" mb="xs">
        The row that shows it: row {position + 1} of {rows} ({trial}). Its values of <code>{output}</code>,
        from where they differ:
      </Text>
      <Scroll label="Counterexample">
        <Table verticalSpacing={4}>
          <caption>
            <VisuallyHidden>The same row by itself and in company</VisuallyHidden>
          </caption>
          <Table.Tbody>
            <Values label="By itself" values={expected} />
            <Values label="In company" values={got} />
          </Table.Tbody>
        </Table>
      </Scroll>
    </>
  );
}

function Values({ label, values }: { label: string; values: readonly string[] }): ReactElement {
  return (
    <Table.Tr>
      <Table.Th scope="row" w="9rem">
        {label}
      </Table.Th>
      {values.map((value, index) => (
        <Table.Td key={index}>
          <code>{value}</code>
        </Table.Td>
      ))}
    </Table.Tr>
  );
}
