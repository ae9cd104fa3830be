import { Button, Paper, Title } from '@mantine/core';
import { memo, type ReactElement } from 'react';

import { AnswerBars } from './AnswerBars';
import classes from './DemoPanel.module.css';
import type { Digit, Seen } from './digit';
import { DrawingPad } from './DrawingPad';
import { isBlank } from './picture';
import { PictureGrid } from './PictureGrid';
import { SAMPLES } from './samples';
import { Status } from './Status';
import { TimingBar } from './TimingBar';

/** Draw, and see what the deployed model says. */
export function DemoPanel({ digit, seen }: { digit: Digit; seen: Seen }): ReactElement {
  const blank = isBlank(seen.drawing.picture);
  return (
    <Paper withBorder component="section" aria-label="Live demo" className={classes.panel ?? ''}>
      <div className={classes.head}>
        <Title order={2}>{seen.drawing.by === 'hand' ? 'Draw a digit' : 'Now draw your own'}</Title>
        <Button
          variant="default"
          size="compact-sm"
          flex="none"
          onClick={() => digit.clear()}
          disabled={blank}
        >
          Clear
        </Button>
      </div>
      <div className={classes.work}>
        <DrawingPad digit={digit} drawing={seen.drawing} />
        <div className={classes.side}>
          <PictureGrid picture={seen.drawing.picture} onTurn={(cell) => digit.turn(cell)} />
          <p className={classes.caption}>What the model gets: 8 × 8 numbers</p>
        </div>
        <AnswerBars answer={seen.answer} />
      </div>
      <Samples digit={digit} />
      <div className={classes.foot}>
        <Status seen={seen} onAgain={() => digit.again()} />
        {seen.answer && seen.error === null && <TimingBar answer={seen.answer} />}
      </div>
    </Paper>
  );
}

const Samples = memo(function Samples({ digit }: { digit: Digit }): ReactElement {
  return (
    <div className={classes.samples} role="group" aria-label="Samples">
      <span>Or take one of ours:</span>
      {SAMPLES.map((_, sample) => (
        <Button key={sample} variant="default" size="compact-sm" onClick={() => digit.sample(sample)}>
          {sample}
        </Button>
      ))}
    </div>
  );
});
