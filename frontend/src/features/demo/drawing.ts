import { FULL, type Picture, pictureOf } from './picture';
import { SAMPLES } from './samples';
import type { Point, Stroke } from './strokes';

/** What stands in the drawing area. `by`: whose it is; what is not by hand makes way for the next stroke. */
export interface Drawing {
  by: 'hand' | 'sample' | 'cells';
  /** None where cells of the picture were set one by one. */
  strokes: readonly Stroke[];
  picture: Picture;
}

/** Nearer points than this say nothing new. */
const STEP_MIN = 0.012;
const POINTS_MAX = 1_500;

export const BLANK: Drawing = { by: 'hand', strokes: [], picture: pictureOf([]) };

export function sampleOf(digit: number): Drawing {
  return drawn('sample', SAMPLES[digit] ?? []);
}

export function withStroke({ by, strokes }: Drawing, at: Point): Drawing {
  return drawn('hand', [...(by === 'hand' ? strokes : []), [at]]);
}

/** The stroke under way goes on along `way`. The same drawing where that is no way at all. */
export function withPoints(drawing: Drawing, way: readonly Point[]): Drawing {
  const stroke = drawing.strokes.at(-1) ?? [];
  const longer = way.reduce(withPoint, stroke);
  if (longer === stroke || drawing.strokes.flat().length >= POINTS_MAX) return drawing;
  return drawn('hand', [...drawing.strokes.slice(0, -1), longer]);
}

function withPoint(stroke: Stroke, to: Point): Stroke {
  const last = stroke.at(-1);
  const near = last === undefined || Math.hypot(to[0] - last[0], to[1] - last[1]) < STEP_MIN;
  return near ? stroke : [...stroke, to];
}

/** A cell of the picture made full, or empty where it was more than half full. */
export function withCellTurned({ picture }: Drawing, cell: number): Drawing {
  return {
    by: 'cells',
    strokes: [],
    picture: picture.map((ink, index) => (index !== cell ? ink : ink > FULL / 2 ? 0 : FULL)),
  };
}

function drawn(by: Drawing['by'], strokes: readonly Stroke[]): Drawing {
  return { by, strokes, picture: pictureOf(strokes) };
}
