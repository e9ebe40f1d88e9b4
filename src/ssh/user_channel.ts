/**
 * A channel on a Unix socket of the workload. In: a connection as the program's user has it. Out: a {@linkcode Channel}. It cannot be
 * reset: where it is cut, the far side sees an end.
 *
 * @module
 */
import type { UserConnection } from "../core/user_sockets.ts";
import type { Channel } from "../net/channel.ts";

/** The bytes of a connection that may be half open. What is read is good until the next read. */
export class UserChannel implements Channel {
  readonly #connection: UserConnection;
  readonly #cut = new AbortController();

  constructor(connection: UserConnection) {
    this.#connection = connection;
  }

  get broken(): AbortSignal {
    return this.#cut.signal;
  }

  async read(): Promise<Uint8Array | undefined> {
    const bytes = await this.#connection.output.read();
    this.broken.throwIfAborted();
    return bytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    // What the far side has said before it went is still read.
    if (!await this.#connection.input.write(bytes)) throw new Error("nobody reads any more");
  }

  end(): void {
    this.#connection.input.end();
  }

  reset(): void {
    this.close();
  }

  /** Closes it; what was written before goes out. */
  close(): void {
    if (this.broken.aborted) return;
    this.#cut.abort();
    this.#connection.close();
  }
}
