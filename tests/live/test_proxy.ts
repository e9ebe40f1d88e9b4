/**
 * Proxies for tests: HTTP CONNECT and SOCKS5 on one port each, which take every name for 127.0.0.1 and note what they were
 * asked for.
 *
 * @module
 */

/** What a proxy speaks. */
export type ProxyKind = "http" | "socks5";

/** A proxy; disposing it ends its connections. */
export class TestProxy implements AsyncDisposable {
  /** `<host>:<port>` of each connection that was asked for. */
  readonly asked: string[] = [];
  /** Proxy-Authorization of each, where one was sent. */
  readonly authorizations: string[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.TcpConn>();
  readonly #tasks: Promise<void>[] = [];

  constructor(readonly kind: ProxyKind) {
    this.#tasks.push(this.#accept());
  }

  get url(): string {
    return `${this.kind}://127.0.0.1:${this.#listener.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open) {
      try {
        connection.close();
      } catch {
        // Its stream has closed it.
      }
    }
    await Promise.all(this.#tasks);
  }

  async #accept(): Promise<void> {
    for await (const client of this.#listener) {
      this.#open.add(client);
      this.#tasks.push(this.#serve(client).catch(() => {}));
    }
  }

  async #serve(client: Deno.TcpConn): Promise<void> {
    const { host, port, ok } = this.kind === "http" ? await this.#readConnect(client) : await readSocks(client);
    this.asked.push(`${host}:${port}`);
    const server = await Deno.connect({ hostname: "127.0.0.1", port });
    this.#open.add(server);
    await client.write(ok);
    const pumps = [client.readable.pipeTo(server.writable), server.readable.pipeTo(client.writable)];
    await Promise.all(pumps.map((pump) => pump.catch(() => {})));
  }

  async #readConnect(client: Deno.TcpConn): Promise<Asked> {
    const head = new TextDecoder().decode(await readSome(client));
    const [, host = "", port = ""] = /^CONNECT (.+):(\d+) HTTP/.exec(head) ?? [];
    const authorization = /^proxy-authorization: (.*)\r$/im.exec(head)?.[1];
    if (authorization) this.authorizations.push(authorization);
    return { host, port: Number(port), ok: new TextEncoder().encode("HTTP/1.1 200 OK\r\n\r\n") };
  }
}

interface Asked {
  readonly host: string;
  readonly port: number;
  /** What tells the client that it is connected. */
  readonly ok: Uint8Array;
}

async function readSome(connection: Deno.TcpConn): Promise<Uint8Array> {
  const buffer = new Uint8Array(4096);
  return buffer.subarray(0, await connection.read(buffer) ?? 0);
}

/** RFC 1928: no authentication, CONNECT, an IPv4 address or a name. */
async function readSocks(client: Deno.TcpConn): Promise<Asked> {
  await readSome(client);
  await client.write(new Uint8Array([5, 0]));
  const request = await readSome(client);
  const [port, address] = [request.subarray(-2), request.subarray(4, -2)];
  const host = request[3] === 3 ? new TextDecoder().decode(address.subarray(1)) : address.join(".");
  return { host, port: port[0]! * 256 + port[1]!, ok: new Uint8Array([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]) };
}
