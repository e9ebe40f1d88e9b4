/**
 * A TCP proxy on a free port of 127.0.0.1 that makes the network slower: every byte, and every end of a stream, arrives
 * `delayMs` later, in each direction. Bandwidth is not limited, and setting up a connection costs nothing, as on loopback.
 *
 * ```ts
 * await using proxy = new DelayProxy({ port: server.port, delayMs: 10 });
 * const connection = await Deno.connect({ hostname: "127.0.0.1", port: proxy.port });
 * ```
 *
 * @module
 */

/** Options of {@linkcode DelayProxy}. */
export interface DelayProxyOptions {
  /** Port of the real server on 127.0.0.1. */
  readonly port: number;
  /** Milliseconds in each direction: a round trip costs twice as much. */
  readonly delayMs: number;
}

/** Runs from its construction until it is disposed of, which also ends every connection through it. */
export class DelayProxy implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.TcpConn>();
  readonly #tasks = new Set<Promise<void>>();
  readonly #timers = new Map<ReturnType<typeof setTimeout>, () => void>();

  #disposed = false;

  constructor(readonly options: DelayProxyOptions) {
    this.#track(this.#accept());
  }

  /** The port to connect to. */
  get port(): number {
    return this.#listener.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#listener.close();
    for (const connection of this.#open) this.#close(connection);
    for (const [timer, resume] of this.#timers) {
      clearTimeout(timer);
      resume();
    }
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
  }

  /** Every failure here is the end of a connection, which the two ends see for themselves. */
  #track(task: Promise<void>): void {
    const tracked = task.catch(() => {}).finally(() => this.#tasks.delete(tracked));
    this.#tasks.add(tracked);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      this.#track(this.#connect(client));
    }
  }

  async #connect(client: Deno.TcpConn): Promise<void> {
    this.#keep(client);
    try {
      const server = await Deno.connect({ hostname: "127.0.0.1", port: this.options.port });
      this.#keep(server);
      // The delay is ours alone: no waiting for a full segment on top of it.
      for (const connection of [client, server]) connection.setNoDelay(true);
      await Promise.all([this.#carry(client, server), this.#carry(server, client)]);
      this.#close(server);
    } finally {
      this.#close(client);
    }
  }

  async #carry(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
    // Reading goes on while earlier bytes wait; the chain keeps their order.
    let written: Promise<unknown> = Promise.resolve();
    const later = (write: () => Promise<unknown>) => {
      const due = this.#after(this.options.delayMs);
      written = Promise.all([written, due]).then(write);
      written.catch(() => this.#close(from));
    };
    try {
      for (;;) {
        const bytes = new Uint8Array(65536);
        const count = await from.read(bytes);
        if (count === null) break;
        later(async () => {
          for (let at = 0; at < count;) at += await to.write(bytes.subarray(at, count));
        });
      }
      later(() => to.closeWrite());
      await written;
    } catch {
      this.#close(to);
    }
  }

  #after(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, delayMs);
      this.#timers.set(timer, resolve);
    });
  }

  #keep(connection: Deno.TcpConn): void {
    this.#open.add(connection);
    // One that was on its way while the proxy was disposed of.
    if (this.#disposed) this.#close(connection);
  }

  #close(connection: Deno.TcpConn): void {
    if (this.#open.delete(connection)) connection.close();
  }
}
