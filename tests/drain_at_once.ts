import type { ServerDrainOptions } from "../src/mesh/drain.ts";
import { systemClock } from "../src/pod/clock.ts";

/** The drain of a server whose program has ended: nothing is waited for. */
export const AT_ONCE: ServerDrainOptions = {
  over: new AbortController().signal,
  clock: systemClock,
  programRuns: false,
  waiting: () => 0,
};
