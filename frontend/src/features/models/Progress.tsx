import { Text, VisuallyHidden } from '@mantine/core';
import type { ReactElement } from 'react';

import { Elapsed } from './Elapsed';
import classes from './Progress.module.css';
import { type Step, STEPS, steps, type UnderWay } from './stages';

/** Where a version is on its way, in a line. `step`: how many of `STEPS` are behind it. */
export function ProgressBar({ step }: { step: number }): ReactElement {
  return (
    <div className={classes.bar} aria-hidden="true">
      {STEPS.map(({ name }, index) => (
        <span key={name} className={index === step ? classes.now : index < step ? classes.done : ''} />
      ))}
    </div>
  );
}

interface Props {
  version: UnderWay;
  /** When its upload began. */
  since: string;
}

/** All that happens to a version until it can answer, and where that stands. */
export function ProgressSteps({ version, since }: Props): ReactElement | null {
  const shown = steps(version);
  if (!shown) return null;
  const now = shown.find((step) => step.state === 'now');
  return (
    <div>
      <ol className={classes.steps}>
        {shown.map((step, index) => (
          <StepItem key={step.name} step={step} number={index + 1} />
        ))}
      </ol>
      <Text size="sm" mt="md" aria-live="polite">
        <strong>{now?.label}.</strong> {now?.means}
      </Text>
      <Text size="sm" c="dimmed">
        Under way for <Elapsed since={since} />.
      </Text>
    </div>
  );
}

const SAID: Readonly<Record<Step['state'], string>> = { done: 'done', now: 'under way', waiting: 'to come' };

function StepItem({ step, number }: { step: Step; number: number }): ReactElement {
  return (
    <li
      className={classes.step}
      data-state={step.state}
      {...(step.state === 'now' ? { 'aria-current': 'step' as const } : {})}
    >
      <span className={classes.dot} aria-hidden="true">
        {step.state === 'done' ? '✓' : number}
      </span>
      {step.label}
      <VisuallyHidden>: {SAID[step.state]}</VisuallyHidden>
    </li>
  );
}
