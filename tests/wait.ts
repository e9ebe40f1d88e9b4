/**
 * Waiting for a condition, with a deadline. Tests never sleep and hope.
 *
 * @module
 */

/** Options of {@linkcode waitFor}. */
export interface WaitOptions {
  /** Milliseconds until the test fails; generous, since machines are slow. @default {20_000} */
  readonly timeoutMs?: number;
}

/**
 * Calls `condition` until it gives something truthy, and returns that. An error thrown by it counts as "not yet".
 *
 * @throws {Error} naming `what` and the last thing seen, when the deadline passes.
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  { timeoutMs = 20_000 }: WaitOptions = {},
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
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
