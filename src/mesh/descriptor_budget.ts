/**
 * File descriptors that callers may have of one server of krun's, all together. Each connection of a caller is one, and each stream's
 * connection to the program.
 *
 * Deno 2.9.6 accepts no connection any more, and says nothing, once a process has run out of descriptors while it accepted one.
 * So krun must not come near.
 *
 * @module
 */

/** Gives one back. To be called once. */
export type Release = () => void;

/** Counts them. */
export class DescriptorBudget {
  #connections = 0;
  #streams = 0;

  /** @param total how many there are */
  constructor(readonly total: number) {}

  /** One for a caller's connection: these may have half, so that whoever is connected gets on. `undefined`: there is none left. */
  connection(): Release | undefined {
    if (2 * (this.#connections + 1) > this.total) return undefined;
    this.#connections++;
    return () => void this.#connections--;
  }

  /** One for a connection to the program. */
  stream(): Release | undefined {
    if (2 * (this.#streams + 1) > this.total) return undefined;
    this.#streams++;
    return () => void this.#streams--;
  }
}
