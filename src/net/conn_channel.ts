/**
 * A channel on a connection of Deno's. It cannot be reset: where it is cut, the far side sees an end.
 *
 * @module
 */
import type { Channel } from "./channel.ts";

/** How much is read at once, bytes. */
const READ_BYTES = 64 << 10;

/** The bytes of a TCP or Unix connection that may be half open. */
export class ConnChannel implements Channel {
  readonly #conn: Deno.Conn;
  readonly #cut = new AbortController();
  #hasEnded = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  async read(): Promise<Uint8Array | undefined> {
    const buffer = new Uint8Array(READ_BYTES);
    const count = await this.#orCut(() => this.#conn.read(buffer));
    return count === null ? undefined : buffer.subarray(0, count);
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#orCut(() => this.#conn.write(bytes.subarray(at)));
  }

  end(): void {
    if (this.#hasEnded || this.broken.aborted) return;
    this.#hasEnded = true;
    // The far side may have gone meanwhile.
    this.#conn.closeWrite().catch(() => {});
  }

  reset(): void {
    this.close();
  }

  /** Closes it; what was written before goes out. */
  close(): void {
    if (this.broken.aborted) return;
    this.#cut.abort();
    this.#conn.close();
  }

  async #orCut<Result>(act: () => Promise<Result>): Promise<Result> {
    try {
      return await act();
    } catch (cause) {
      this.close();
      throw cause;
    }
  }
}
