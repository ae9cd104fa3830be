import { Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Scroll } from '@/components/Scroll';
import { formatBytes, formatMs, formatShare } from '@/lib/format';

import { formatError } from './errors';
import type { Quantisation, QuantisedForm } from './receipt';

/** What int8 weights cost and brought. */
export function QuantisationPart({ quantisation }: { quantisation: Quantisation }): ReactElement {
  const { method, comparedWith, rowsFrom, acceptedLoss } = quantisation;
  return (
    <div>
      <Text size="sm" mb="xs">
        Then its weights were made smaller ({method}), and it was compared with {comparedWith} again, on rows
        that were {rowsFrom}.
        {acceptedLoss.length > 0 && ` Its owner accepted the loss: ${acceptedLoss.join('; ')}.`}
      </Text>
      <Scroll label="Quantisation">
        <Table verticalSpacing={6} miw="34rem">
          <caption>
            <VisuallyHidden>The model with float and with int8 weights</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Weights</Table.Th>
              <Table.Th scope="col">Size</Table.Th>
              <Table.Th scope="col">A run takes</Table.Th>
              <Table.Th scope="col">Rows that agree</Table.Th>
              <Table.Th scope="col">Largest difference</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            <Form name="float" form={quantisation.float} />
            <Form name="int8" form={quantisation.int8} />
          </Table.Tbody>
        </Table>
      </Scroll>
    </div>
  );
}

function Form({ name, form }: { name: string; form: QuantisedForm }): ReactElement {
  const runs = Object.entries(form.runMs).map(([rows, ms]) => `${rows} rows ${formatMs(ms)}`);
  return (
    <Table.Tr>
      <Table.Th scope="row">{name}</Table.Th>
      <Table.Td>{formatBytes(form.bytes)}</Table.Td>
      <Table.Td>{runs.join(', ')}</Table.Td>
      <Table.Td>{formatShare(Math.min(1, ...form.outputs.map((output) => output.agreement)))}</Table.Td>
      <Table.Td>{formatError(Math.max(0, ...form.outputs.map((output) => output.relative)))}</Table.Td>
    </Table.Tr>
  );
}
