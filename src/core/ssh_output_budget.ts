/**
 * Bytes that wait for SSH's clients to read them, which all connections share: they are memory of krun's. In: how many wait. Out: how many
 * may wait for one connection.
 *
 * @module
 */

/** What may wait for all connections together, bytes, as long as none of them is at the least. */
const ALL_BYTES = 16 << 20;

/** For one connection may wait such a part of what is left. */
const PART = 8;

/** The least and the most that may wait for one connection, bytes: a few packets, so that each goes on; and what makes long writes. */
const LEAST_BYTES = 64 << 10, MOST_BYTES = 1 << 20;

/**
 * Counts them. While each connection keeps to its share, at most 16 MiB wait, and 64 KiB for each connection more.
 *
 * @example The share of each gets smaller when much waits
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const output = new SshOutputBudget();
 * assert.equal(output.share, 1024 * 1024);
 * output.count(15 * 1024 * 1024);
 * assert.equal(output.share, 128 * 1024);
 * ```
 */
export class SshOutputBudget {
  #waiting = 0;

  /** So many bytes wait more; fewer, where it is negative. */
  count(bytes: number): void {
    this.#waiting += bytes;
  }

  /** How many bytes may wait for one connection before its channels write no more. */
  get share(): number {
    const part = Math.floor((ALL_BYTES - this.#waiting) / PART);
    return Math.max(LEAST_BYTES, Math.min(MOST_BYTES, part));
  }
}
