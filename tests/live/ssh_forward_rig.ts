/**
 * What tests of forwards talk to and talk by: servers of this process, and ssh(1) that forwards.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { waitFor } from "../wait.ts";
import type { ClientOptions, SshRig } from "./ssh_rig.ts";

/** A server of this process. Disposing it ends it. */
export interface TestServer extends AsyncDisposable {
  readonly port: number;
}

/** Serves each connection by a function, which gets to close it. */
export function serveTcp(
  serve: (conn: Deno.Conn) => Promise<void>,
  options: Partial<Deno.TcpListenOptions> = {},
): TestServer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0, ...options });
  return { port: listener.addr.port, ...serveAll(listener, serve) };
}

/** As {@linkcode serveTcp}, on a Unix socket. */
export function serveUnix(path: string, serve: (conn: Deno.Conn) => Promise<void>): AsyncDisposable {
  return serveAll(Deno.listen({ transport: "unix", path }), serve);
}

function serveAll(listener: AsyncIterable<Deno.Conn> & { close(): void }, serve: (conn: Deno.Conn) => Promise<void>) {
  const all: Promise<void>[] = [];
  const one = async (conn: Deno.Conn) => {
    await serve(conn).catch(() => {}); // Whoever called has gone.
    try {
      conn.close();
    } catch {
      // It has closed it.
    }
  };
  const accepting = (async () => {
    for await (const conn of listener) all.push(one(conn));
  })();
  return {
    async [Symbol.asyncDispose]() {
      listener.close();
      await accepting;
      await Promise.all(all);
    },
  };
}

/** Sends everything back. */
export async function echo(conn: Deno.Conn): Promise<void> {
  await conn.readable.pipeTo(conn.writable);
}

/** Reads to the end, then says the digest of what it was. */
export async function digestOf(conn: Deno.Conn): Promise<void> {
  await writeAll(conn, new TextEncoder().encode(await hashAll(conn)));
}

/** The digest of everything up to the end. */
export async function hashAll(conn: Deno.Conn): Promise<string> {
  const hash = createHash("sha256");
  const buffer = new Uint8Array(1 << 16);
  for (let count; (count = await conn.read(buffer)) !== null;) hash.update(buffer.subarray(0, count));
  return hash.digest("hex");
}

/** The digest of bytes. */
export function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Writes all of it. */
export async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await conn.write(bytes.subarray(at));
}

/** All that comes up to the end, as a text. */
export async function readText(conn: Deno.Conn): Promise<string> {
  let text = "";
  const buffer = new Uint8Array(1 << 16);
  for (let count; (count = await conn.read(buffer)) !== null;) {
    text += new TextDecoder().decode(buffer.subarray(0, count));
  }
  return text;
}

/** Random bytes. */
export function randomBytes(count: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; at += 65536) crypto.getRandomValues(bytes.subarray(at, at + 65536));
  return bytes;
}

/** A port of 127.0.0.1 on which nobody listens. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** ssh(1) that only forwards, from when its forwards are there. */
export class Forwarding implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #reading: Promise<void>;
  #stderr = "";

  private constructor(rig: SshRig, args: readonly string[], options: ClientOptions) {
    const ends = ["ExitOnForwardFailure=yes", "LogLevel=INFO", "StreamLocalBindUnlink=yes", ...options.options ?? []];
    this.#child = rig.spawn(["-N", ...args], { ...options, options: ends });
    this.#reading = this.#read();
  }

  /** Starts it; `local` is a port of its own, or a path, that it listens on when it is ready. */
  static async start(
    rig: SshRig,
    args: readonly string[],
    { local, ...options }: ClientOptions & { local?: number | string } = {},
  ): Promise<Forwarding> {
    const forwarding = new Forwarding(rig, args, options);
    if (local === undefined) return forwarding;
    await waitFor(`${args.join(" ")}: ${forwarding.#stderr}`, async () => {
      const conn = typeof local === "number"
        ? await Deno.connect({ hostname: "127.0.0.1", port: local })
        : await Deno.connect({ transport: "unix", path: local });
      conn.close();
      return true;
    });
    return forwarding;
  }

  /** Waits for a text of ssh's. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return await waitFor(`${pattern} from ssh`, () => {
      const found = pattern.exec(this.#stderr);
      if (!found) throw new Error(this.#stderr);
      return found;
    });
  }

  /** Resolves to its exit status. */
  async ended(): Promise<number> {
    return (await this.#child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await Promise.allSettled([this.#child.stdin.close(), this.#child.stdout.cancel(), this.#reading]);
  }

  async #read(): Promise<void> {
    for await (const chunk of this.#child.stderr) this.#stderr += new TextDecoder().decode(chunk);
  }
}

/** A connection to a host and port by a SOCKS proxy (RFC 1928) of 127.0.0.1; rejects when that says no. */
export async function connectBySocks(
  proxy: number,
  { host, port }: { host: string; port: number },
): Promise<Deno.TcpConn> {
  const conn = await Deno.connect({ hostname: "127.0.0.1", port: proxy });
  const answer = new Uint8Array(10);
  await writeAll(conn, Uint8Array.of(5, 1, 0));
  await conn.read(answer.subarray(0, 2));
  const name = new TextEncoder().encode(host);
  await writeAll(conn, Uint8Array.of(5, 1, 0, 3, name.length, ...name, port >> 8, port & 255));
  await conn.read(answer);
  if (answer[1] === 0) return conn;
  conn.close();
  throw new Error(`SOCKS: ${answer[1]}`);
}
