/**
 * A signal made of others, for as long as somebody needs it.
 *
 * @module
 */

/**
 * Aborts with the first of its sources, with its reason.
 *
 * What `AbortSignal.any` gives is collected as garbage in Deno 2.6 while it is listened to, unless one of its sources has a timer,
 * and an abort is then lost: a probe whose connection was reset at the end of a run waited for ever, and krun with it, in one of
 * some hundred starts. This one is held by its sources until it is disposed.
 */
export class AnySignal implements Disposable {
  readonly #controller = new AbortController();
  readonly #sources: readonly AbortSignal[];
  readonly #onAbort = ({ target }: Event) => this.#controller.abort((target as AbortSignal).reason);

  constructor(sources: readonly AbortSignal[]) {
    this.#sources = sources;
    const first = sources.find((source) => source.aborted);
    if (first) this.#controller.abort(first.reason);
    else for (const source of sources) source.addEventListener("abort", this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Lets go of the sources: the signal aborts no more. */
  [Symbol.dispose](): void {
    for (const source of this.#sources) source.removeEventListener("abort", this.#onAbort);
  }
}
