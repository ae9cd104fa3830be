import { Table, Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Ago } from '@/components/Ago';
import { Scroll } from '@/components/Scroll';
import { StateBadge } from '@/components/StateBadge';
import { formatBytes, formatMs } from '@/lib/format';
import type { Model, Version } from '@/lib/models';

import { ProgressBar } from '../Progress';
import { position, STEPS } from '../stages';
import { VersionLink } from '../VersionLink';
import { bytesOf, roleOf } from './versions';
import classes from './VersionsTable.module.css';

interface Props {
  model: Model;
  versions: readonly Version[];
}

/** Every upload of a model, with what it costs. */
export function VersionsTable({ model, versions }: Props): ReactElement {
  if (versions.length === 0) return <Text c="dimmed">All its versions were deleted.</Text>;
  return (
    <Scroll label="Table of versions">
      <Table verticalSpacing="sm" className={classes.table ?? ''}>
        <caption>
          <VisuallyHidden>Versions, the newest first</VisuallyHidden>
        </caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Version</Table.Th>
            <Table.Th scope="col">State</Table.Th>
            <Table.Th scope="col">Uploaded</Table.Th>
            <Table.Th scope="col">Framework</Table.Th>
            <Table.Th scope="col" className={classes.number ?? ''}>
              Size
            </Table.Th>
            <Table.Th scope="col" className={classes.number ?? ''}>
              One row takes
            </Table.Th>
            <Table.Th scope="col" className={classes.number ?? ''}>
              Memory
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {versions.map((version) => (
            <Row key={version.number} model={model} version={version} />
          ))}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}

function Row({ model, version }: { model: Model; version: Version }): ReactElement {
  const { passport } = version;
  return (
    <Table.Tr>
      <Table.Th scope="row">
        <VersionLink modelId={model.id} number={version.number}>
          Version {version.number}
        </VersionLink>
      </Table.Th>
      <Table.Td>
        <State model={model} version={version} />
      </Table.Td>
      <Table.Td>
        <Ago at={version.created_at} />
      </Table.Td>
      <Table.Td>{version.framework || '–'}</Table.Td>
      <Table.Td className={classes.number ?? ''}>{formatBytes(bytesOf(version))}</Table.Td>
      <Table.Td className={classes.number ?? ''}>{formatMs(passport?.run_ms)}</Table.Td>
      <Table.Td className={classes.number ?? ''}>
        {passport ? formatBytes(passport.memory_bytes) : '–'}
      </Table.Td>
    </Table.Tr>
  );
}

function State({ model, version }: { model: Model; version: Version }): ReactElement {
  const step = position(version);
  return (
    <div className={classes.state}>
      <StateBadge state={roleOf(version, model)} />
      {step !== null && (
        <>
          <ProgressBar step={step} />
          <Text size="xs" c="dimmed">
            {STEPS[step]?.label}
          </Text>
        </>
      )}
      {version.reason && (
        <Text size="xs" c="var(--bad)" className={classes.reason ?? ''}>
          {version.reason}
        </Text>
      )}
    </div>
  );
}
