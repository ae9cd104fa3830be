import { type PointerEvent, type ReactElement, useEffect, useRef } from 'react';

import classes from './editors.module.css';
import type { Pixels } from './images';
import { contextOf, pixelsOn } from './pictures';

const SIDE = 256;

interface Props {
  /** width / height */
  aspect: number;
  /** The ink's width, as a share of the pad's. */
  ink: number;
  /** After each stroke's step. */
  onDrawn: (pixels: Pixels) => void;
}

/** Bright ink on black, as digits are in the well-known data. For a pointer; a file or a table does the same by keyboard. */
export function DrawingPad({ aspect, ink, onDrawn }: Props): ReactElement {
  const canvas = useRef<HTMLCanvasElement>(null);
  const last = useRef<[number, number] | null>(null);
  useEffect(() => {
    if (canvas.current) clear(canvas.current);
  }, []);

  const draw = (event: PointerEvent<HTMLCanvasElement>) => {
    const target = event.currentTarget;
    const box = target.getBoundingClientRect();
    const to: [number, number] = [
      ((event.clientX - box.left) / box.width) * target.width,
      ((event.clientY - box.top) / box.height) * target.height,
    ];
    stroke(target, ink, last.current ?? to, to);
    last.current = to;
    onDrawn(pixelsOn(target));
  };
  return (
    <canvas
      ref={canvas}
      className={classes.pad}
      width={SIDE}
      height={Math.round(SIDE / aspect)}
      role="img"
      aria-label="Drawing area: draw with the mouse, a pen or a finger"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        last.current = null;
        draw(event);
      }}
      onPointerMove={(event) => {
        if (event.currentTarget.hasPointerCapture(event.pointerId)) draw(event);
      }}
    />
  );
}

function clear(canvas: HTMLCanvasElement): void {
  const context = contextOf(canvas);
  context.fillStyle = '#000';
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function stroke(
  canvas: HTMLCanvasElement,
  ink: number,
  from: readonly [number, number],
  to: readonly [number, number],
): void {
  const context = contextOf(canvas);
  context.strokeStyle = '#fff';
  context.lineWidth = canvas.width * ink;
  context.lineCap = 'round';
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}
