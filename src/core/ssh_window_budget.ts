/**
 * Windows of SSH's channels, which all clients share: what a client may send unread is memory of krun's. In: how many channels a client
 * has. Out: how much one more of them may send, bytes. Rules: RFC 4254, 5.2.
 *
 * @module
 */

/** What the windows of all channels have together, bytes, as long as none of them is of the least size: sixteen large ones are half of it. */
const ALL_BYTES = 64 << 20;

/** One channel gets at most such a part of what is left. */
const PART = 16;

/** The least window, bytes: the longest packet fits in. Whoever may open a channel gets it, where nothing is left too. */
const LEAST_BYTES = 32 << 10;

/** The largest windows, bytes, by how many channels a client has: few have large ones. */
const MOST_BYTES = [[16, 2 << 20], [128, 256 << 10], [Infinity, 64 << 10]] as const;

/**
 * Counts them. The windows of all channels are at most 64 MiB, and 32 KiB for each channel more.
 *
 * @example Few channels have large windows
 * ```ts
 * import assert from "node:assert/strict";
 *
 * const windows = new SshWindowBudget();
 * assert.equal(windows.take(0), 2 * 1024 * 1024);
 * assert.equal(windows.take(1000), 64 * 1024);
 * ```
 */
export class SshWindowBudget {
  #left = ALL_BYTES;

  /** The window of one more channel of a client that has so many; whole packets. It is to be given back. */
  take(channels: number): number {
    const most = MOST_BYTES.find(([below]) => channels < below)![1];
    const part = Math.floor(this.#left / PART / LEAST_BYTES) * LEAST_BYTES;
    const window = Math.max(LEAST_BYTES, Math.min(most, part));
    this.#left -= window;
    return window;
  }

  /** The channel holds nothing any more. */
  giveBack(window: number): void {
    this.#left += window;
  }
}
