/**
 * Waiting for a condition, with a deadline. Tests never sleep and hope.
 *
 * @module
 */

/** Options of {@linkcode waitFor}. */
export interface WaitOptions {
  /** Milliseconds until the test fails; generous, since machines are slow. @default {60_000} */
  readonly timeoutMs?: number;
  /** Milliseconds between two looks; more for a look that starts a program. @default {20} */
  readonly pauseMs?: number;
}

/**
 * Calls `condition` until it gives something truthy, and returns that. An error thrown by it counts as "not yet".
 *
 * @throws {Error} naming `what` and the last thing seen, when the deadline passes.
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  { timeoutMs = 60_000, pauseMs = 20 }: WaitOptions = {},
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      last = await condition();
      if (last) return last as NonNullable<T>;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what}; last seen: ${last}`);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

/** Longer than anything takes that a test waits for, on whatever machine: only what hangs is cut off. */
const HANG_MS = 120_000;

/** Options of {@linkcode unlessItHangs}. */
export interface HangOptions {
  /** What to show of it when it hangs. */
  seen(): string;
}

/**
 * Gives what `promise` gives.
 *
 * @throws {Error} naming `what` and what was seen of it, after two minutes.
 */
export async function unlessItHangs<T>(what: string, promise: Promise<T>, { seen }: HangOptions): Promise<T> {
  const hang = Promise.withResolvers<never>();
  const fail = () => hang.reject(new Error(`waited ${HANG_MS} ms for ${what}\n${seen()}`));
  const timer = setTimeout(fail, HANG_MS);
  try {
    return await Promise.race([promise, hang.promise]);
  } finally {
    clearTimeout(timer);
  }
}
