import { Alert, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import type { Model } from '@/lib/models';

import { ProgressSteps } from '../Progress';
import { position } from '../stages';
import { VersionLink } from '../VersionLink';
import classes from './Arriving.module.css';

/** What is happening to the newest version, or why it failed; nothing when all is done. */
export function Arriving({ model }: { model: Model }): ReactElement | null {
  const { latest } = model;
  if (!latest) return null;
  if (latest.state === 'failed') return <Failed model={model} latest={latest} />;
  if (position(latest) === null) return null;
  return (
    <Panel title={`Version ${latest.number} is on its way`}>
      <ProgressSteps version={latest} since={latest.created_at} />
    </Panel>
  );
}

interface Props {
  model: Model;
  latest: NonNullable<Model['latest']>;
}

function Failed({ model, latest }: Props): ReactElement {
  return (
    <Alert color="red" variant="light" title={`Version ${latest.number} cannot be served`}>
      <Text size="sm">{latest.reason ?? 'No reason was given.'}</Text>
      <Text size="sm" mt="xs" className={classes.more ?? ''}>
        {model.active === null
          ? 'Nothing answers yet: upload again under the same name.'
          : `Version ${model.active} goes on answering: callers notice nothing.`}{' '}
        <VersionLink modelId={model.id} number={latest.number}>
          Its report
        </VersionLink>
      </Text>
    </Alert>
  );
}
