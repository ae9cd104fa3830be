import type { PointerEvent, ReactElement } from 'react';

import type { Digit } from './digit';
import type { Drawing } from './drawing';
import classes from './DrawingPad.module.css';
import { FULL, isBlank, SIDE } from './picture';
import type { Point, Stroke } from './strokes';

const SIZE = 100;
const CELL = SIZE / SIDE;

/** Where to draw: with a mouse, a finger or a pen. */
export function DrawingPad({ digit, drawing }: { digit: Digit; drawing: Drawing }): ReactElement {
  const begin = (event: PointerEvent<SVGSVGElement>) => {
    if (!event.isPrimary || event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    digit.begin(placeOf(event.nativeEvent, event.currentTarget));
  };
  const extend = (event: PointerEvent<SVGSVGElement>) => {
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    const between = event.nativeEvent.getCoalescedEvents();
    const moves = between.length > 0 ? between : [event.nativeEvent];
    digit.extend(moves.map((move) => placeOf(move, event.currentTarget)));
  };
  return (
    <svg
      className={classes.pad}
      viewBox={`0 0 ${SIZE} ${SIZE}`}
      role="img"
      aria-label="Drawing area, for a mouse, a finger or a pen. By keyboard: the samples, or the picture of 8 by 8."
      onPointerDown={begin}
      onPointerMove={extend}
    >
      <path className={classes.lines} d={LINES} />
      {drawing.strokes.length === 0 && <Cells drawing={drawing} />}
      {drawing.strokes.map((stroke, index) => (
        <polyline key={index} className={classes.ink} points={written(stroke)} />
      ))}
      {isBlank(drawing.picture) && (
        <text x={SIZE / 2} y={SIZE / 2} className={classes.hint}>
          0 to 9, here
        </text>
      )}
    </svg>
  );
}

function Cells({ drawing }: { drawing: Drawing }): ReactElement[] {
  return drawing.picture.map((ink, at) => (
    <rect
      key={at}
      className={classes.cell}
      x={(at % SIDE) * CELL}
      y={Math.floor(at / SIDE) * CELL}
      width={CELL}
      height={CELL}
      opacity={ink / FULL}
    />
  ));
}

const LINES = Array.from({ length: SIDE - 1 }, (_, index) => (index + 1) * CELL)
  .map((at) => `M${at} 0V${SIZE}M0 ${at}H${SIZE}`)
  .join('');

function placeOf(event: { clientX: number; clientY: number }, pad: Element): Point {
  const box = pad.getBoundingClientRect();
  const share = (at: number, size: number) => Math.min(1, Math.max(0, at / size));
  return [share(event.clientX - box.left, box.width), share(event.clientY - box.top, box.height)];
}

/** A dot is drawn as a line to itself, which has round ends. */
function written(stroke: Stroke): string {
  const points = stroke.length === 1 ? [...stroke, ...stroke] : stroke;
  return points.map(([x, y]) => `${(x * SIZE).toFixed(1)},${(y * SIZE).toFixed(1)}`).join(' ');
}
