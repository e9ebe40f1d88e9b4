/**
 * Passes TCP connections on to a local port until its valve is shut: then nothing that the server sends is read any more, as
 * from a peer that hangs. In: the port. Out: another port.
 *
 * @module
 */

/** A forwarder; disposing it ends its connections. */
export class ValveProxy implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #ends = new Set<Deno.TcpConn>();
  readonly #tasks: Promise<unknown>[];
  #opened: Promise<void> = Promise.resolve();
  #open: () => void = () => {};

  constructor(readonly target: number) {
    this.#tasks = [this.#accept()];
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  /** From now on, at most one more piece is read from the server. */
  shut(): void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#opened = promise;
    this.#open = resolve;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#open();
    this.#listener.close();
    for (const end of this.#ends) end.close();
    this.#ends.clear();
    await Promise.all(this.#tasks);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      const server = await Deno.connect({ hostname: "127.0.0.1", port: this.target });
      this.#ends.add(client).add(server);
      this.#tasks.push(this.#carry(client, server, () => Promise.resolve()));
      this.#tasks.push(this.#carry(server, client, () => this.#opened));
    }
  }

  async #carry(from: Deno.TcpConn, to: Deno.TcpConn, allowed: () => Promise<void>): Promise<void> {
    const bytes = new Uint8Array(16_384);
    try {
      for (;;) {
        await allowed();
        const count = await from.read(bytes);
        if (count === null) break;
        for (let at = 0; at < count;) at += await to.write(bytes.subarray(at, count));
      }
      await to.closeWrite();
    } catch {
      // The other side, or this proxy, has ended the connection.
    }
  }
}
