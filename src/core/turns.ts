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

/** Turns of which everybody has so many, whatever others do; whoever has none and waits for none is forgotten. */
export class TurnsOfEach {
  readonly #most: number;
  readonly #of = new Map<string, { readonly turns: Turns; users: number }>();

  /** @param most how many each may have at once */
  constructor(most: number) {
    this.#most = most;
  }

  /** As {@linkcode Turns.take}, for all who have this name. */
  async take(who: string): Promise<Disposable> {
    const own = this.#of.get(who) ?? { turns: new Turns(this.#most), users: 0 };
    this.#of.set(who, own);
    own.users++;
    const turn = await own.turns.take();
    const given = new DisposableStack();
    given.defer(() => {
      if (--own.users === 0) this.#of.delete(who);
    });
    given.use(turn);
    return given;
  }
}
