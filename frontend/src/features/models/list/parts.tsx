import { Badge, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import type { ReactElement } from 'react';

import { StateBadge } from '@/components/StateBadge';
import type { Model } from '@/lib/models';

import { ProgressBar } from '../Progress';
import classes from './ModelList.module.css';
import { serving } from './serving';

/** The link to a model. It covers its row or card. */
export function ModelName({ model }: { model: Model }): ReactElement {
  return (
    <Link to="/models/$modelId" params={{ modelId: model.id }} className={classes.name}>
      {model.name}
    </Link>
  );
}

export function ServingState({ model }: { model: Model }): ReactElement {
  const { state, note, bad, step } = serving(model);
  return (
    <div className={classes.state}>
      <StateBadge state={state} />
      {note !== null && (
        <Text size="xs" c={bad ? 'var(--bad)' : 'dimmed'}>
          {note}
        </Text>
      )}
      {step !== null && <ProgressBar step={step} />}
    </div>
  );
}

/** The version that answers, and the one on trial. */
export function Versions({ model }: { model: Model }): ReactElement {
  const { active, candidate } = model;
  return (
    <span className={classes.versions}>
      <span>{active ?? '–'}</span>
      {candidate && (
        <Badge color="violet" variant="light" tt="none" miw="max-content">
          {candidate.percent > 0
            ? `trial of ${candidate.version}: ${candidate.percent} %`
            : `${candidate.version} in shadow`}
        </Badge>
      )}
    </span>
  );
}
