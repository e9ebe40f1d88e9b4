/**
 * A clock that a test moves by hand: an hour passes at once, the wall clock jumps, nothing waits for real.
 *
 * @module
 */
import type { Clock } from "../src/core/clock.ts";

interface Sleeper {
  readonly untilMs: number;
  /** Somebody waits for it: not a deadline, which nobody can call off. */
  readonly isAwaited: boolean;
  wake(): void;
}

/** A {@linkcode Clock} whose time passes only in {@linkcode FakeClock.pass}. */
export class FakeClock implements Clock {
  #nowMs = Date.parse("2031-05-06T07:08:09Z");
  #elapsedMs = 1_000;
  readonly #sleepers = new Set<Sleeper>();

  nowMs(): number {
    return this.#nowMs;
  }

  elapsedMs(): number {
    return this.#elapsedMs;
  }

  /** How many wait: a loop that was ended must not be among them. */
  get sleeping(): number {
    return [...this.#sleepers].filter(({ isAwaited }) => isAwaited).length;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#sleepers.delete(sleeper);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      const sleeper = { untilMs: this.#elapsedMs + ms, isAwaited: true, wake };
      this.#sleepers.add(sleeper);
      signal.addEventListener("abort", wake);
    });
  }

  deadline(ms: number): AbortSignal {
    const over = new AbortController();
    const wake = () => {
      this.#sleepers.delete(sleeper);
      over.abort();
    };
    const sleeper = { untilMs: this.#elapsedMs + ms, isAwaited: false, wake };
    this.#sleepers.add(sleeper);
    return over.signal;
  }

  turn(): Promise<void> {
    return Promise.resolve();
  }

  /** The wall clock is set, forward or back; nobody wakes from that. A suspend is a jump forward. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }

  /** Time passes on both clocks, from one sleeper's end to the next, and what they then do is done. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#elapsedMs + ms;
    for (;;) {
      await settle();
      const next = [...this.#sleepers].sort((a, b) => a.untilMs - b.untilMs)[0];
      const untilMs = Math.min(next?.untilMs ?? endMs, endMs);
      this.#nowMs += untilMs - this.#elapsedMs;
      this.#elapsedMs = untilMs;
      if (next === undefined || next.untilMs > endMs) return await settle();
      next.wake();
    }
  }
}

/**
 * Lets everything go on that waits for neither time nor the outside: chains of promises. What a fake cluster does is no
 * more than that.
 */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}
