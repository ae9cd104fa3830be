import { Paper, Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { Scroll } from '@/components/Scroll';
import { formatBytes } from '@/lib/format';
import type { Model } from '@/lib/models';

import type { Asked } from './listing';
import { LastHour } from './LastHour';
import classes from './ModelList.module.css';
import { ModelName, ServingState, Versions } from './parts';

interface Props {
  models: readonly Model[];
  /** By model id; undefined while that is not known. */
  asks: ReadonlyMap<string, Asked> | undefined;
}

export function ModelTable({ models, asks }: Props): ReactElement {
  return (
    <Paper withBorder className={classes.frame ?? ''}>
      <Scroll label="Your models">
        <Table verticalSpacing="sm" horizontalSpacing="sm" className={classes.table ?? ''}>
          <caption>
            <VisuallyHidden>Your models, and what was asked of them in the last hour</VisuallyHidden>
          </caption>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">Model</Table.Th>
              <Table.Th scope="col">State</Table.Th>
              <Table.Th scope="col">Version</Table.Th>
              <Table.Th scope="col">Last hour</Table.Th>
              <Table.Th scope="col" className={classes.number ?? ''}>
                Size
              </Table.Th>
              <Table.Th scope="col" className={classes.number ?? ''}>
                Hosts
              </Table.Th>
              <Table.Th scope="col">Uploaded</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {models.map((model) => (
              <Row key={model.id} model={model} asks={asks} />
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Paper>
  );
}

function Row({ model, asks }: { model: Model; asks: Props['asks'] }): ReactElement {
  const { latest } = model;
  return (
    <Table.Tr className={classes.row ?? ''}>
      <Table.Th scope="row">
        <ModelName model={model} />
        {latest?.framework && (
          <Text size="xs" c="dimmed" fw={400}>
            {latest.framework}
          </Text>
        )}
      </Table.Th>
      <Table.Td>
        <ServingState model={model} />
      </Table.Td>
      <Table.Td>
        <Versions model={model} />
      </Table.Td>
      <Table.Td>
        <LastHour model={model} asks={asks} />
      </Table.Td>
      <Table.Td className={classes.number ?? ''}>{latest ? formatBytes(latest.bytes) : '–'}</Table.Td>
      <Table.Td className={classes.number ?? ''}>{model.hosts ?? '–'}</Table.Td>
      <Table.Td>
        <Text size="sm" c="dimmed">
          <Ago at={latest?.created_at ?? model.created_at} />
        </Text>
      </Table.Td>
    </Table.Tr>
  );
}
