/**
 * How long each phase of a start took, for the summary line.
 *
 * @module
 */

/** Milliseconds by phase, in order. */
export class Phases {
  readonly #start = performance.now();
  #last = this.#start;
  readonly #spans = new Map<string, number>();

  /** Ends the present phase under this name. */
  end(name: string): void {
    const now = performance.now();
    this.#spans.set(name, (this.#spans.get(name) ?? 0) + now - this.#last);
    this.#last = now;
  }

  /** `cluster 3 ms, fetch 41 ms, …`, without what took no time of its own. */
  toString(): string {
    return [...this.#spans].map(([name, ms]) => [name, Math.round(ms)] as const).filter(([, ms]) => ms > 0)
      .map(([name, ms]) => `${name} ${ms} ms`).join(", ");
  }
}
