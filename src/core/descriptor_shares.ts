/**
 * File descriptors that several clients share. In: how many there are. Out: for each client a way to take some.
 *
 * @module
 */

/** Takes a descriptor; disposing what it gives gives it back. `undefined`: there is none left. */
export type TakeDescriptor = () => Disposable | undefined;

/**
 * Counts them. A client may have as many as are left for all others: alone half of all, and whoever comes next finds some,
 * however many the ones before have taken.
 *
 * @example One of two clients is greedy
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const shares = new DescriptorShares(4);
 * const [greedy, other] = [shares.ofClient(), shares.ofClient()];
 * assert.deepEqual([greedy(), greedy(), greedy()].map((taken) => taken !== undefined), [true, true, false]);
 * assert.ok(other());
 * ```
 */
export class DescriptorShares {
  #left: number;

  /** @param total how many there are */
  constructor(total: number) {
    this.#left = total;
  }

  /** What one client takes by. */
  ofClient(): TakeDescriptor {
    let own = 0;
    return () => {
      if (own >= this.#left) return undefined;
      own++;
      this.#left--;
      let isTaken = true;
      return {
        [Symbol.dispose]: () => {
          if (!isTaken) return;
          isTaken = false;
          own--;
          this.#left++;
        },
      };
    };
  }
}
