import { type KeyboardEvent, type ReactElement, useRef, useState } from 'react';

import { FULL, type Picture, SIDE } from './picture';
import classes from './PictureGrid.module.css';

const STEPS: Readonly<Record<string, readonly [across: number, down: number]>> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};
const INDICES = Array.from({ length: SIDE }, (_, index) => index);

/** What is sent. Arrow keys move in it; space or a click turns a cell. */
export function PictureGrid({
  picture,
  onTurn,
}: {
  picture: Picture;
  onTurn: (cell: number) => void;
}): ReactElement {
  const [current, setCurrent] = useState(0);
  const grid = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = moved(current, step);
    setCurrent(next);
    grid.current?.querySelectorAll('button')[next]?.focus();
  };
  return (
    <div
      ref={grid}
      role="grid"
      aria-label="The picture that the model gets. Arrow keys move, space turns a cell."
      className={classes.grid}
      onKeyDown={onKeyDown}
    >
      {INDICES.map((row) => (
        <div key={row} role="row" className={classes.row}>
          {INDICES.map((column) => {
            const cell = row * SIDE + column;
            const ink = picture[cell] ?? 0;
            return (
              <div key={column} role="gridcell">
                <button
                  type="button"
                  className={classes.cell}
                  tabIndex={cell === current ? 0 : -1}
                  aria-label={`Row ${row + 1}, column ${column + 1}: ${ink} of ${FULL}`}
                  onClick={() => {
                    setCurrent(cell);
                    onTurn(cell);
                  }}
                >
                  <span style={{ opacity: ink / FULL }} />
                </button>
              </div>
            );
          })}
        </div>
      ))}
    </div>
  );
}

function moved(cell: number, [across, down]: readonly [number, number]): number {
  const column = within((cell % SIDE) + across);
  const row = within(Math.floor(cell / SIDE) + down);
  return row * SIDE + column;
}

function within(index: number): number {
  return Math.min(SIDE - 1, Math.max(0, index));
}
