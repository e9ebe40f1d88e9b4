/**
 * Loaded before krun by `deno run --preload`: a timer of more than 5 s, up to 10 minutes, is told on stderr, as `timer 10000`,
 * and ends after a thousandth of its time. So a test of the whole program sees how long krun would wait, and does not wait
 * as long.
 *
 * @module
 */
const realSetTimeout = globalThis.setTimeout;

function shortSetTimeout(callback: () => void, ms: number): ReturnType<typeof setTimeout> {
  if (ms <= 5_000 || ms > 600_000) return realSetTimeout(callback, ms);
  console.error(`timer ${ms}`);
  return realSetTimeout(callback, ms / 1000);
}

Object.assign(globalThis, { setTimeout: shortSetTimeout });
