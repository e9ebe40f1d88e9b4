/**
 * So many at once, the others in their order.
 *
 * @module
 */

/** Turns that are taken and given back. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** @param most how many may have one at once */
  constructor(most: number) {
    this.#free = most;
  }

  /** Resolves when it is one's turn, until it is disposed. */
  async take(): Promise<Disposable> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    let isTaken = true;
    return {
      [Symbol.dispose]: () => {
        if (!isTaken) return;
        isTaken = false;
        const next = this.#waiting.shift();
        if (next) next();
        else this.#free++;
      },
    };
  }
}
