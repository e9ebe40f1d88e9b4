/**
 * The machine's own clocks.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";

/** A longer timer would end at once (the HTML standard counts its milliseconds in 32 bits). */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The clock of this machine. A sleep lasts 24 days at most. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  elapsedMs: () => performance.now(),
  sleep: (ms, signal) => {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(ms, LONGEST_TIMER_MS));
      signal.addEventListener("abort", done);
    });
  },
  // The first setTimeout of a process costs 5 ms (Deno 2.9.6); a start that goes well gets by without one.
  deadline: (ms) => AbortSignal.timeout(Math.min(ms, LONGEST_TIMER_MS)),
  // Any call that another thread answers will do: 0.1 ms, where a timer of 0 ms takes 2.
  turn: async () => void await Deno.lstat("/").catch(() => {}),
};
