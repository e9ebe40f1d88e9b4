/**
 * What happens to the program when a mounted object changes (KRUN_ON_CHANGE), once for a burst of changes.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/log.ts";

/** Options of {@linkcode ChangeReaction}. */
export interface ChangeReactionOptions {
  /** Restarts or signals the program. */
  react(): void | Promise<void>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Nothing happens until no change came for so long. @default {1000} */
  readonly quietMs?: number;
  /** It happens at the latest so long after the first change of a burst. @default {10_000} */
  readonly atMostMs?: number;
}

/** Collects changes and reacts once for each burst. */
export class ChangeReaction {
  readonly #options: ChangeReactionOptions;
  #changes = 0;
  #wake = Promise.withResolvers<void>();

  constructor(options: ChangeReactionOptions) {
    this.#options = options;
  }

  /** Counts one change. */
  changed(): void {
    this.#changes++;
    this.#wake.resolve();
  }

  /** Reacts until the signal aborts. One reaction ends before the next begins; changes during it count for the next. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, react, log, quietMs = 1000, atMostMs = 10_000 } = this.#options;
    const aborted = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    while (!signal.aborted) {
      await Promise.race([this.#wake.promise, aborted]);
      const latest = clock.elapsedMs() + atMostMs;
      for (let seen = -1; seen !== this.#changes && clock.elapsedMs() < latest && !signal.aborted;) {
        seen = this.#changes;
        await clock.sleep(Math.min(quietMs, latest - clock.elapsedMs()), signal);
      }
      if (signal.aborted) return;
      log.info("mounted objects changed", { changes: this.#changes });
      this.#changes = 0;
      this.#wake = Promise.withResolvers();
      await react();
    }
  }
}
