import { Table, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import { Scroll } from '@/components/Scroll';
import type { Schema } from '@/lib/api/client';
import { formatShape } from '@/lib/format';

import { kindWords, shapeWords } from './signature';
import classes from './SignaturePanel.module.css';

/** What a version takes and gives. */
export function SignaturePanel({ signature }: { signature: Schema['Signature'] }): ReactElement {
  return (
    <Panel title="Signature" description="What the model takes, and what it gives back.">
      <Scroll label="Inputs and outputs">
        <Table verticalSpacing="xs" miw="36rem">
          <caption>
            <VisuallyHidden>Inputs and outputs</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Name</Table.Th>
              <Table.Th scope="col">Side</Table.Th>
              <Table.Th scope="col">Type</Table.Th>
              <Table.Th scope="col">Shape</Table.Th>
              <Table.Th scope="col">In words</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            <Rows side="Input" tensors={signature.inputs} />
            <Rows side="Output" tensors={signature.outputs} />
          </Table.Tbody>
        </Table>
      </Scroll>
    </Panel>
  );
}

function Rows({ side, tensors }: { side: string; tensors: Schema['TensorSignature'][] }): ReactElement[] {
  return tensors.map(({ name, dtype, shape }) => (
    <Table.Tr key={`${side} ${name}`}>
      <Table.Th scope="row">
        <code>{name}</code>
      </Table.Th>
      <Table.Td>{side}</Table.Td>
      <Table.Td>
        <code>{dtype}</code>
      </Table.Td>
      <Table.Td className={classes.shape ?? ''}>{formatShape(shape)}</Table.Td>
      <Table.Td>
        {kindWords(dtype)}: {shapeWords(shape)}
      </Table.Td>
    </Table.Tr>
  ));
}
