/**
 * Turns of whoever serves files: all calls are krun's main thread's. In: how much was done. Out: a pause, so that others come to
 * theirs.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";

/** After so much work it is others' turn. */
const TURN_BYTES = 256 * 1024, TURN_MS = 4;

/** Those of one channel. */
export class SharedTurns {
  /** Aborts when nobody waits for the work any more. */
  readonly broken: AbortSignal;
  readonly #clock: Clock;
  #bytes = 0;
  #sinceMs: number;

  constructor(broken: AbortSignal, clock: Clock) {
    this.broken = broken;
    this.#clock = clock;
    this.#sinceMs = clock.elapsedMs();
  }

  /** Others had their turn while there was nothing to do. */
  begin(): void {
    this.#sinceMs = this.#clock.elapsedMs();
  }

  /** To be told of the bytes carried, 0 for work without any; resolves when it may go on. */
  async carried(bytes: number): Promise<void> {
    this.#bytes += bytes;
    if (this.#bytes < TURN_BYTES && this.#clock.elapsedMs() - this.#sinceMs < TURN_MS) return;
    await this.#clock.turn();
    this.#bytes = 0;
    this.begin();
  }
}
