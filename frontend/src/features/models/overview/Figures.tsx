import { Text } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import type { ReactElement } from 'react';

import { Stat, Stats } from '@/components/Stat';
import { formatBytes, formatCount, formatMs } from '@/lib/format';
import type { Model, Version } from '@/lib/models';

import { asked } from '../list/listing';
import { modelHourQuery } from '../queries';

/** A model that answers, in five figures. */
export function Figures({ model, version }: { model: Model; version: Version | null }): ReactElement {
  const { data: hour } = useQuery(modelHourQuery(model.id));
  const counted = hour && asked(hour.total.sums);
  const passport = version?.passport;
  return (
    <Stats>
      <Stat label="Version that answers" value={model.active} hint={candidateWords(model)} />
      <Stat
        label="Requests, last hour"
        value={counted ? formatCount(counted.requests) : '–'}
        hint={counted && <ErrorWords errors={counted.errors} />}
      />
      <Stat label="One row takes" value={formatMs(passport?.run_ms)} hint="in the model, as measured" />
      <Stat
        label="Memory"
        value={passport ? formatBytes(passport.memory_bytes) : '–'}
        hint="on each host that has it"
      />
      <Stat
        label="Hosts"
        value={model.hosts ?? '–'}
        hint={model.pinned ? 'pinned: it stays loaded' : 'have it loaded now'}
      />
    </Stats>
  );
}

function candidateWords({ candidate, activating }: Model): string {
  if (activating !== null) return `version ${activating} is about to take over`;
  if (!candidate) return 'for all callers';
  return candidate.percent > 0
    ? `version ${candidate.version} for ${candidate.percent} % of callers`
    : `version ${candidate.version} runs in its shadow`;
}

function ErrorWords({ errors }: { errors: number }): ReactElement {
  if (errors === 0) return <>no errors</>;
  return (
    <Text span inherit c="var(--bad)">
      {formatCount(errors)} {errors === 1 ? 'error' : 'errors'}
    </Text>
  );
}
