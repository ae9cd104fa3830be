interface Options<Item> {
  /**
   * Resolves when it is answered or given up, with null; with milliseconds where it is to be sent once more
   * after them, unless something newer came. Never rejects. `tries`: how often it was sent before.
   */
  send: (item: Item, tries: number, signal: AbortSignal) => Promise<number | null>;
  /** At least, from one start to the next. */
  intervalMs: number;
}

/** Sends the newest of what it is offered: one at a time, and not too often. What came between is dropped. */
export class Pacer<Item> {
  readonly #options: Options<Item>;
  #waiting: { item: Item; tries: number } | null = null;
  #sending: AbortController | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #notBefore = 0;

  constructor(options: Options<Item>) {
    this.#options = options;
  }

  offer(item: Item): void {
    this.#waiting = { item, tries: 0 };
    this.#go();
  }

  /** What waits is not sent, and what was sent is not waited for. How soon the next may go stays as it is. */
  stop(): void {
    this.#waiting = null;
    this.#sending?.abort();
    this.#sending = null;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #go(): void {
    if (this.#waiting === null || this.#sending !== null || this.#timer !== null) return;
    const wait = this.#notBefore - performance.now();
    if (wait > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#go();
      }, wait);
      return;
    }
    const { item, tries } = this.#waiting;
    this.#waiting = null;
    void this.#send(item, tries);
  }

  async #send(item: Item, tries: number): Promise<void> {
    const sending = new AbortController();
    this.#sending = sending;
    this.#notBefore = performance.now() + this.#options.intervalMs;
    const againMs = await this.#options.send(item, tries, sending.signal);
    if (againMs !== null) this.#notBefore = Math.max(this.#notBefore, performance.now() + againMs);
    if (this.#sending !== sending) return; // it was stopped
    this.#sending = null;
    if (againMs !== null) this.#waiting ??= { item, tries: tries + 1 };
    this.#go();
  }
}
