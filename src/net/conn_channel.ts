/**
 * A channel on a connection of Deno's. It cannot be reset: where it is cut, the far side sees an end.
 *
 * @module
 */
import type { Channel } from "./channel.ts";

/** How much is read at once, bytes: as much as comes, since a read that waits holds it. */
const READ_BYTES = { least: 4 << 10, most: 64 << 10 };

/** The bytes of a TCP or Unix connection that may be half open. */
export class ConnChannel implements Channel {
  readonly #conn: Deno.Conn;
  readonly #cut = new AbortController();
  #readBytes = READ_BYTES.least;
  #hasEnded = false;

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  async read(): Promise<Uint8Array | undefined> {
    const buffer = new Uint8Array(this.#readBytes);
    const count = await this.#readInto(buffer);
    if (count === null) return undefined;
    if (count === buffer.length) this.#readBytes = Math.min(4 * count, READ_BYTES.most);
    else if (count < buffer.length / 8) this.#readBytes = READ_BYTES.least;
    return buffer.subarray(0, count);
  }

  /** Where it fails, what the far side has said before it went is still read. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#conn.write(bytes.subarray(at));
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

  async #readInto(buffer: Uint8Array): Promise<number | null> {
    try {
      return await this.#conn.read(buffer);
    } catch (cause) {
      this.close();
      throw cause;
    }
  }
}
