/**
 * A signal that aborts when its parent does or when time runs out, and can tell which of the two it was.
 *
 * @module
 */

/** One limit; `clear` it when the work is done, else its timer and listeners stay. */
export class TimeLimit {
  /** True when time ran out before anything else happened. */
  expired = false;
  readonly #controller = new AbortController();
  readonly #parent: AbortSignal | undefined;
  readonly #first: AbortSignal;
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** @param ms milliseconds; the time starts at once */
  constructor(readonly ms: number, parent: AbortSignal | undefined) {
    this.#parent = parent;
    if (parent?.aborted) this.#onParent();
    parent?.addEventListener("abort", this.#onParent);
    // The first setTimeout of a process costs 5 ms (Deno 2.9.6), in the middle of a start. What cannot be cleared is at least
    // not listened to any more.
    this.#first = AbortSignal.timeout(ms);
    this.#first.addEventListener("abort", this.#onTime);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The time starts again. */
  restart(): void {
    this.pause();
    this.#timer = setTimeout(this.#onTime, this.ms);
  }

  /** Time does not count until the next restart. */
  pause(): void {
    this.#first.removeEventListener("abort", this.#onTime);
    if (this.#timer !== undefined) clearTimeout(this.#timer);
  }

  /** Aborts now. */
  abort(): void {
    this.#controller.abort();
  }

  /** No abort comes from here any more. */
  clear(): void {
    this.pause();
    this.#parent?.removeEventListener("abort", this.#onParent);
  }

  readonly #onTime = () => {
    this.expired = !this.signal.aborted;
    this.#controller.abort();
  };

  readonly #onParent = () => this.#controller.abort(this.#parent?.reason);
}
