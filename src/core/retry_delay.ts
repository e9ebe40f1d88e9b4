/**
 * How long to wait before the next try of something that failed.
 *
 * @module
 */

/** Nobody is obeyed who asks for a longer wait: a mistaken proxy could stop krun for a day. Milliseconds. */
const LONGEST_ASKED_WAIT_MS = 60_000;

/** Options of {@linkcode retryDelayMs}. */
export interface RetryDelayOptions {
  /** Number in [0, 1) that spreads the waiters. */
  readonly chance: number;
  /** Longest wait after the first failure, milliseconds. */
  readonly firstMs: number;
  /** Longest wait at all, milliseconds. */
  readonly maxMs: number;
  /** What the server asked for (Retry-After), milliseconds: never less than that, up to a minute. */
  readonly atLeastMs?: number | undefined;
}

/**
 * Milliseconds to wait after the given number of failures in a row: doubles with each, and lies between half of that and all
 * of it, so that many waiters do not come back at once.
 */
export function retryDelayMs(failures: number, { chance, firstMs, maxMs, atLeastMs = 0 }: RetryDelayOptions): number {
  // 30 doublings pass every sensible maximum; more would leave the safe integers.
  const doubled = firstMs * 2 ** Math.min(Math.max(failures - 1, 0), 30);
  const longest = Math.min(doubled, maxMs);
  return Math.round(Math.min(atLeastMs, LONGEST_ASKED_WAIT_MS) + longest * (0.5 + chance / 2));
}
