/**
 * What several people share: file descriptors, connections. In: how many there are. Out: for each of them a way to take some.
 *
 * @module
 */

/** Takes one; disposing what it gives gives it back. `undefined`: there is none left. */
export type TakeShare = () => Disposable | undefined;

/**
 * Counts them. Somebody may have as many as are left for all others: alone half of all, and whoever comes next finds some, however
 * many the ones before have taken.
 *
 * @example One of two is greedy
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const shares = new Shares(4);
 * const [greedy, other] = [shares.of("eve"), shares.of("ann")];
 * assert.deepEqual([greedy(), greedy(), shares.of("eve")()].map((taken) => taken !== undefined), [true, true, false]);
 * assert.ok(other());
 * ```
 */
export class Shares {
  #left: number;
  readonly #taken = new Map<string, number>();

  /** @param total how many there are */
  constructor(total: number) {
    this.#left = total;
  }

  /** What somebody takes by, together with all others of that name. */
  of(who: string): TakeShare {
    return () => {
      const own = this.#taken.get(who) ?? 0;
      if (own >= this.#left) return undefined;
      this.#count(who, 1);
      let isTaken = true;
      return {
        [Symbol.dispose]: () => {
          if (isTaken) this.#count(who, -1);
          isTaken = false;
        },
      };
    };
  }

  #count(who: string, more: 1 | -1): void {
    this.#left -= more;
    const own = (this.#taken.get(who) ?? 0) + more;
    if (own === 0) this.#taken.delete(who);
    else this.#taken.set(who, own);
  }
}
