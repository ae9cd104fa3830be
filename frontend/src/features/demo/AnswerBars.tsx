import { memo, type ReactElement } from 'react';

import { type Answer, DIGITS } from './answer';
import classes from './AnswerBars.module.css';

const ALL = Array.from({ length: DIGITS }, (_, digit) => digit);

/** The digit, and how likely the model holds each. */
export const AnswerBars = memo(function AnswerBars({ answer }: { answer: Answer | null }): ReactElement {
  return (
    <div className={classes.answer}>
      <p className={classes.winner} aria-hidden="true">
        {answer?.digit ?? '?'}
      </p>
      <p className={classes.said} role="status">
        {said(answer)}
      </p>
      {answer?.likelihood !== null && (
        <ol className={classes.bars} aria-label="How likely each digit is">
          {ALL.map((digit) => (
            <Bar
              key={digit}
              digit={digit}
              share={answer?.likelihood?.[digit] ?? 0}
              wins={digit === answer?.digit}
            />
          ))}
        </ol>
      )}
    </div>
  );
});

function Bar({ digit, share, wins }: { digit: number; share: number; wins: boolean }): ReactElement {
  return (
    <li className={classes.bar} data-wins={wins}>
      <span>{digit}</span>
      <span className={classes.track}>
        <span className={classes.fill} style={{ transform: `scaleX(${share})` }} />
      </span>
      <span className={classes.share}>{shareText(share)}</span>
    </li>
  );
}

function said(answer: Answer | null): string {
  if (answer === null) return 'No answer yet';
  const share = answer.likelihood?.[answer.digit];
  return share === undefined
    ? `It says ${answer.digit}`
    : `It says ${answer.digit}, ${shareText(share)} sure`;
}

/** With a decimal, and never rounded up to certainty. */
function shareText(share: number): string {
  return `${(Math.floor(share * 1000) / 10).toFixed(1)} %`;
}
