/**
 * Turns of whoever serves files: all calls are krun's main thread's. In: how much was done. Out: a pause, so that others come to
 * theirs.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";

/** After so much work it is others' turn. */
const TURN_BYTES = 256 * 1024, TURN_MS = 4;

/** How long whoever works without a break rests, milliseconds: Deno looks at its sockets when it has nothing else to do, else rarely. */
const REST_MS = 1;

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
    const isMuch = this.#bytes >= TURN_BYTES;
    if (!isMuch && this.#clock.elapsedMs() - this.#sinceMs < TURN_MS) return;
    // What carries much waits for the client anyway.
    await (isMuch ? this.#clock.turn() : this.#clock.sleep(REST_MS, this.broken));
    this.#bytes = 0;
    this.begin();
  }
}
