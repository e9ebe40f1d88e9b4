/**
 * The forwards of one connection: -L and -D lead from the client to where the workload can connect, -R from a port or a socket of
 * the workload to the client. Rules: RFC 4254, section 7; OpenSSH's PROTOCOL for Unix sockets; sshd_config(5) with
 * `GatewayPorts no`.
 *
 * @module
 */
import { bytesOfText } from "../core/byte_text.ts";
import type { Logger } from "../core/log.ts";
import { CHANNEL_REFUSAL, type ConnectionRequest } from "../core/ssh_messages.ts";
import { relay } from "../net/channel.ts";
import { ConnChannel } from "../net/conn_channel.ts";
import type { SshChannel } from "./channel.ts";
import { ChannelRefused, type ChannelTable, type ForwardTarget, type OpenedForward } from "./channel_table.ts";

/** Sockets of the workload, as the program's user may have them. */
export interface UserSockets {
  /** Rejects with a reason that may be told. */
  connectUnix(path: string): Promise<Deno.Conn>;
  /** A socket for its owner alone. Throws where the user may not make one. */
  listenUnix(path: string): UnixListener;
  /** Whether the user may listen on a port. */
  mayListen(port: number): boolean;
}

/** A Unix socket that listens; closing it removes its file. */
export interface UnixListener extends AsyncIterable<Deno.Conn> {
  close(): void;
}

/** Which forwards a login may have. */
export interface ForwardRights {
  /** Whether -L or -D may lead there. */
  mayOpen(host: string, port: number): boolean;
  /** Whether -R may listen there. */
  mayListen(address: string, port: number): boolean;
  /** Whether there may be forwards of Unix sockets. */
  readonly unixSockets: boolean;
}

/** Options of {@linkcode Forwards}. */
export interface ForwardsOptions {
  readonly rights: ForwardRights;
  readonly sockets: UserSockets;
  /** Names the login in each line. */
  readonly log: Logger;
  /** Takes a descriptor for a connection, and gives it back; `undefined`: there is none left. */
  takeDescriptor(): Disposable | undefined;
  /** The connection's channels. */
  channels(): Pick<ChannelTable, "openForwarded"> | undefined;
}

/** A connection may listen in so many places. */
const MAX_LISTENERS = 64;

/** How long a connection to a host may take to be made, milliseconds. */
const CONNECT_MS = 30_000;

/** Listeners of one forward. */
type Listeners = readonly (AsyncIterable<Deno.Conn> & { close(): void })[];

/** The forwards of one connection. */
export class Forwards {
  readonly #options: ForwardsOptions;
  readonly #listeners = new Map<string, Listeners>();
  readonly #open = new Set<ConnChannel>();
  #isOver = false;

  constructor(options: ForwardsOptions) {
    this.#options = options;
  }

  /** Connects to where the client wants to be led. Rejects with {@linkcode ChannelRefused}. */
  async forward(target: ForwardTarget): Promise<OpenedForward> {
    const { log } = this.#options;
    const to = target.kind === "direct-tcpip" ? `${target.host}:${target.port}` : target.path;
    const refuse = (reason: number, words: string) => {
      log.info("ssh forward refused", { to, reason: words });
      return new ChannelRefused(reason, words);
    };
    if (!this.#mayOpen(target)) throw refuse(CHANNEL_REFUSAL.prohibited, "this login may not be forwarded there");
    const descriptor = this.#options.takeDescriptor();
    if (!descriptor) throw refuse(CHANNEL_REFUSAL.shortage, "too many files are open");
    let conn;
    try {
      conn = await this.#connect(target);
    } catch (cause) {
      descriptor[Symbol.dispose]();
      throw refuse(CHANNEL_REFUSAL.connectFailed, (cause as Error).message);
    }
    log.info("ssh forward", { to });
    const far = new ConnChannel(conn);
    return {
      serve: (channel) => void this.#carry(channel, far).finally(() => descriptor[Symbol.dispose]()),
      drop: () => {
        far.close();
        descriptor[Symbol.dispose]();
      },
    };
  }

  /** Begins to listen for the client, or ends that. Never rejects. */
  request(request: ConnectionRequest): Promise<boolean | number> {
    return Promise.resolve(this.#answer(request));
  }

  /** Ends all of them. */
  close(): void {
    this.#isOver = true;
    for (const listeners of this.#listeners.values()) closeAll(listeners);
    this.#listeners.clear();
    for (const channel of this.#open) channel.close();
  }

  #mayOpen(target: ForwardTarget): boolean {
    const { rights } = this.#options;
    if (target.kind === "direct-streamlocal") return rights.unixSockets;
    return target.port > 0 && target.port <= 65535 && rights.mayOpen(target.host, target.port);
  }

  async #connect(target: ForwardTarget): Promise<Deno.Conn> {
    if (target.kind === "direct-streamlocal") return await this.#options.sockets.connectUnix(target.path);
    const limit = AbortSignal.timeout(CONNECT_MS);
    const { host: hostname, port } = target;
    const connecting = Deno.connect({ hostname, port }).then((conn) => {
      if (limit.aborted) conn.close();
      return conn;
    });
    const conn = await Promise.race([connecting, rejectAfter(limit)]);
    conn.setNoDelay(true);
    return conn;
  }

  async #carry(channel: SshChannel, far: ConnChannel): Promise<void> {
    this.#open.add(far);
    await relay(channel, far);
    this.#open.delete(far);
    channel.close();
    far.close();
  }

  #answer(request: ConnectionRequest): boolean | number {
    if (this.#isOver) return false;
    switch (request.kind) {
      case "tcpip-forward":
        return this.#listenTcp(request);
      case "streamlocal-forward":
        return this.#listenUnix(request.path);
      case "cancel-tcpip-forward":
        return this.#cancel(`${request.address}:${request.port}`);
      case "cancel-streamlocal-forward":
        return this.#cancel(request.path);
      default:
        return false;
    }
  }

  #listenTcp({ address, port }: { address: string; port: number }): boolean | number {
    const { rights, sockets } = this.#options;
    const at = `${address}:${port}`;
    if (port > 65535 || !rights.mayListen(address, port)) return this.#refused(at, "this login may not listen there");
    if (!sockets.mayListen(port)) return this.#refused(at, "the program's user may not listen on that port");
    const listeners = this.#attempt(at, () => listenOnLoopback(port));
    if (!listeners) return false;
    const { port: found } = listeners[0]!.addr as Deno.NetAddr;
    this.#serve(`${address}:${found}`, listeners, (conn) => {
      const { hostname: originHost, port: originPort } = conn.remoteAddr as Deno.NetAddr;
      return { kind: "tcpip", address, port: found, originHost, originPort };
    });
    return port === 0 ? found : true;
  }

  #listenUnix(path: string): boolean {
    const { rights, sockets } = this.#options;
    if (!rights.unixSockets) return this.#refused(path, "this login may not listen there");
    const listener = this.#attempt(path, () => sockets.listenUnix(path));
    if (!listener) return false;
    this.#serve(path, [listener], () => ({ kind: "streamlocal", path: bytesOfText(path) }));
    return true;
  }

  #attempt<Made>(at: string, make: () => Made): Made | undefined {
    if (this.#listeners.size >= MAX_LISTENERS) {
      this.#refused(at, `there are ${MAX_LISTENERS} already`);
      return undefined;
    }
    try {
      return make();
    } catch (cause) {
      this.#refused(at, (cause as Error).message);
      return undefined;
    }
  }

  #refused(at: string, reason: string): false {
    this.#options.log.info("ssh remote forward refused", { at, reason });
    return false;
  }

  #serve(
    at: string,
    listeners: Listeners,
    describe: (conn: Deno.Conn) => Parameters<ChannelTable["openForwarded"]>[0],
  ): void {
    this.#options.log.info("ssh remote forward", { at });
    this.#listeners.set(at, listeners);
    for (const listener of listeners) {
      void (async () => {
        for await (const conn of listener) void this.#toClient(conn, describe(conn));
      })().catch((cause) => this.#options.log.debug("ssh remote forward ended", { at, reason: cause.message }));
    }
  }

  async #toClient(conn: Deno.Conn, forwarded: Parameters<ChannelTable["openForwarded"]>[0]): Promise<void> {
    const near = new ConnChannel(conn);
    using descriptor = this.#options.takeDescriptor();
    const channel = descriptor && await this.#options.channels()?.openForwarded(forwarded).catch(() => undefined);
    if (channel) await this.#carry(channel, near);
    near.close();
  }

  #cancel(at: string): boolean {
    const listeners = this.#listeners.get(at);
    if (!listeners) return false;
    this.#listeners.delete(at);
    closeAll(listeners);
    return true;
  }
}

/** Whatever address is asked for: others reach no forward of a workload. */
function listenOnLoopback(port: number): Deno.TcpListener[] {
  const first = Deno.listen({ hostname: "127.0.0.1", port });
  const found = (first.addr as Deno.NetAddr).port;
  try {
    return [first, Deno.listen({ hostname: "::1", port: found })];
  } catch {
    return [first]; // There is no IPv6, or something else has that port there.
  }
}

function closeAll(listeners: Listeners): void {
  for (const listener of listeners) listener.close();
}

function rejectAfter(limit: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    limit.addEventListener("abort", () => reject(new Error(`no answer within ${CONNECT_MS / 1000} s`)), { once: true })
  );
}
