/**
 * Passes TCP connections on to a local port and counts them. Bytes are neither changed nor held back.
 *
 * @module
 */

/** A forwarder; disposing it ends its connections. */
export class CountingProxy implements AsyncDisposable {
  /** Connections so far. */
  connections = 0;
  readonly port: number;
  readonly #listener: Deno.TcpListener;
  readonly #accepting: Promise<void>;
  readonly #ends: Deno.TcpConn[] = [];
  readonly #pumps: Promise<unknown>[] = [];

  private constructor(private readonly target: number) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#accepting = this.#accept();
  }

  static start(target: number): Promise<CountingProxy> {
    return Promise.resolve(new CountingProxy(target));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#accepting;
    for (const end of this.#ends) {
      try {
        end.close();
      } catch {
        // Its stream has closed it.
      }
    }
    await Promise.all(this.#pumps);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      this.connections++;
      const server = await Deno.connect({ hostname: "127.0.0.1", port: this.target });
      this.#ends.push(client, server);
      for (const [from, to] of [[client, server], [server, client]] as const) {
        this.#pumps.push(from.readable.pipeTo(to.writable).catch(() => {}));
      }
    }
  }
}
