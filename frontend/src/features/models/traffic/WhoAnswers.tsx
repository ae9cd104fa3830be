import { Alert, Text } from '@mantine/core';
import type { ReactElement } from 'react';

import { Panel } from '@/components/Panel';
import type { Schema } from '@/lib/api/client';

import { RollBackButton } from './RollBackButton';
import { shares, splitWords } from './split';
import classes from './WhoAnswers.module.css';

/** A narrower share has room for its number alone. */
const WORDS_PERCENT_MIN = 35;

interface Props {
  modelId: string;
  traffic: Schema['Traffic'];
}

/** The split as a bar and in words. */
export function WhoAnswers({ modelId, traffic }: Props): ReactElement {
  const mirror = traffic.candidate?.mirror_percent ?? 0;
  return (
    <Panel title="Who answers" actions={<RollBackButton modelId={modelId} traffic={traffic} />}>
      <SplitBar traffic={traffic} />
      {mirror > 0 && <div className={classes.shadow} style={{ width: `${mirror}%` }} aria-hidden="true" />}
      <Text aria-live="polite">{splitWords(traffic)}</Text>
      {traffic.candidate && traffic.candidate.percent > 0 && (
        <Text size="sm" c="dimmed" mt={4}>
          A caller that sends <code>X-Sticky-Key</code> keeps its version.
        </Text>
      )}
      {traffic.activating !== null && (
        <Alert
          color="blue"
          variant="light"
          mt="md"
          title={`Version ${traffic.activating} is about to take over`}
        >
          It does so as soon as hosts have loaded it; until then the others answer, and no request fails. This
          takes seconds, rarely minutes.
        </Alert>
      )}
    </Panel>
  );
}

function SplitBar({ traffic }: { traffic: Schema['Traffic'] }): ReactElement {
  const found = shares(traffic);
  if (found.length === 0)
    return <div className={`${classes.bar ?? ''} ${classes.nobody ?? ''}`} aria-hidden="true" />;
  return (
    <div className={classes.bar} aria-hidden="true">
      {found.map(({ version, role, percent }) => (
        <div key={role} className={classes.share} data-role={role} style={{ flex: `${percent} 0 0` }}>
          {percent >= WORDS_PERCENT_MIN ? `Version ${version} · ${percent} %` : `${percent} %`}
        </div>
      ))}
    </div>
  );
}
