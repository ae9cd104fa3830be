import type { UseQueryResult } from '@tanstack/react-query';
import { type ReactElement, type ReactNode, useEffect, useState, useSyncExternalStore } from 'react';

import type { Schema } from '@/lib/api/client';

import { inputOf } from './answer';
import { ask } from './ask';
import { Calls } from './Calls';
import { DemoPanel } from './DemoPanel';
import { Digit } from './digit';
import classes from './Live.module.css';
import { DemoAway, DemoPending, NoDemo } from './NoDemo';
import { BLANK } from './drawing';
import type { Demo } from './snippets';

const FIRST_SAMPLE = 5;

/** The first screen: what is said, the demo beside it, and under both the two calls that it shows at work. */
export function Live({
  site,
  children,
}: {
  site: UseQueryResult<Schema['Site']>;
  children: ReactNode;
}): ReactElement {
  const demo = site.data?.demo;
  if (demo && inputOf(BLANK.picture, demo.shape) !== null) {
    return (
      <WithDemo key={demo.token} demo={demo}>
        {children}
      </WithDemo>
    );
  }
  return (
    <Screen panel={<WithoutDemo site={site} />} calls={<Calls />}>
      {children}
    </Screen>
  );
}

function WithoutDemo({ site }: { site: UseQueryResult<Schema['Site']> }): ReactElement {
  if (site.isPending) return <DemoPending />;
  if (site.data === undefined) return <DemoAway error={site.error} onRetry={() => void site.refetch()} />;
  return <NoDemo other={site.data.demo?.name ?? null} />;
}

function WithDemo({ demo, children }: { demo: Demo; children: ReactNode }): ReactElement {
  const [digit] = useState(() => new Digit((picture, signal) => ask(demo, picture, signal)));
  const seen = useSyncExternalStore(digit.subscribe, digit.seen);
  useEffect(() => digit.sample(FIRST_SAMPLE), [digit]);
  return (
    <Screen
      panel={<DemoPanel digit={digit} seen={seen} />}
      calls={<Calls demo={demo} asked={seen.asked ?? undefined} result={seen.answer?.result} />}
    >
      {children}
    </Screen>
  );
}

function Screen({
  children,
  panel,
  calls,
}: {
  children: ReactNode;
  panel: ReactNode;
  calls: ReactNode;
}): ReactElement {
  return (
    <>
      <div className={classes.first}>
        <div>{children}</div>
        {panel}
      </div>
      {calls}
    </>
  );
}
