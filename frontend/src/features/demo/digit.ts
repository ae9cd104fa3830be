import type { Answer } from './answer';
import { againAfterMs } from './ask';
import { BLANK, type Drawing, sampleOf, withCellTurned, withPoints, withStroke } from './drawing';
import { Pacer } from './pacing';
import { isBlank, type Picture } from './picture';
import type { Point } from './strokes';

const INTERVAL_MS = 200;

/** What is to be seen. `answer` may be of an earlier picture, `asked`; `error`: of the last request. */
export interface Seen {
  drawing: Drawing;
  answer: Answer | null;
  asked: Picture | null;
  /** A request is under way, or will be again by itself. */
  pending: boolean;
  error: Error | null;
}

type Ask = (picture: Picture, signal: AbortSignal) => Promise<Answer>;

const NOTHING: Seen = { drawing: BLANK, answer: null, asked: null, pending: false, error: null };

/** A drawing and what the model says of it, asked anew whenever it changes, at most five times a second. */
export class Digit {
  readonly #ask: Ask;
  readonly #pacer: Pacer<Picture>;
  readonly #listeners = new Set<() => void>();
  #seen: Seen = NOTHING;

  constructor(ask: Ask) {
    this.#ask = ask;
    this.#pacer = new Pacer({
      intervalMs: INTERVAL_MS,
      send: (picture, tries, signal) => this.#send(picture, tries, signal),
    });
  }

  /** For `useSyncExternalStore`. The last listener that leaves ends what is under way. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#pacer.stop();
    };
  };
  readonly seen = (): Seen => this.#seen;

  begin(at: Point): void {
    this.#draw(withStroke(this.#seen.drawing, at));
  }

  extend(by: readonly Point[]): void {
    this.#draw(withPoints(this.#seen.drawing, by));
  }

  sample(digit: number): void {
    this.#draw(sampleOf(digit));
  }

  turn(cell: number): void {
    this.#draw(withCellTurned(this.#seen.drawing, cell));
  }

  clear(): void {
    this.#draw(BLANK);
  }

  again(): void {
    this.#pacer.offer(this.#seen.drawing.picture);
  }

  #draw(drawing: Drawing): void {
    if (drawing === this.#seen.drawing) return;
    if (isBlank(drawing.picture)) {
      this.#pacer.stop();
      this.#show({ ...NOTHING, drawing });
    } else {
      this.#show({ drawing });
      this.#pacer.offer(drawing.picture);
    }
  }

  async #send(asked: Picture, tries: number, signal: AbortSignal): Promise<number | null> {
    this.#show({ pending: true });
    try {
      const answer = await this.#ask(asked, signal);
      if (!signal.aborted) this.#show({ answer, asked, pending: false, error: null });
      return null;
    } catch (error) {
      const againMs = againAfterMs(error, tries);
      if (!signal.aborted) this.#show({ pending: againMs !== null, error: error as Error });
      return againMs;
    }
  }

  #show(changes: Partial<Seen>): void {
    this.#seen = { ...this.#seen, ...changes };
    this.#listeners.forEach((listener) => listener());
  }
}
