/**
 * The forwards of one connection: -L and -D lead from the client to where the workload can connect, -R from a port or a socket of
 * the workload to the client. Rules: RFC 4254, section 7; OpenSSH's PROTOCOL for Unix sockets; sshd_config(5) with
 * `GatewayPorts no`.
 *
 * @module
 */
import { parseIp } from "../core/ip_address.ts";
import type { TakeShare } from "../core/shares.ts";
import type { LogFields, Logger } from "../core/log.ts";
import { CHANNEL_REFUSAL, type ConnectionRequest } from "../core/ssh_messages.ts";
import { systemFailure } from "../core/system_failure.ts";
import type { UserSockets } from "../core/user_sockets.ts";
import { relay } from "../net/channel.ts";
import { ConnChannel } from "../net/conn_channel.ts";
import { lookUpName } from "../net/name_lookup.ts";
import type { SshChannel } from "./channel.ts";
import { ChannelRefused, type ChannelTable, type ForwardTarget, type OpenedForward } from "./channel_table.ts";
import {
  type Asked,
  askedPort,
  askedSocket,
  closeAll,
  counted,
  type Far,
  type Forwarded,
  listenFields,
  type Listening,
  listenOnLoopback,
  tcpListening,
  unixListening,
} from "./forward_listeners.ts";
import { UserChannel } from "./user_channel.ts";

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
  readonly takeDescriptor: TakeShare;
  /** Resolves when it is this login's turn to have a name looked up, until it is disposed. */
  takeLookUp(): Promise<Disposable>;
  /** The connection's channels. */
  channels(): Pick<ChannelTable, "openForwarded"> | undefined;
}

/** A connection may listen in so many places. */
const MAX_LISTENERS = 64;

const ALREADY = "it is listened there already";

/** More of a name that the client has chosen is not told, nor listened at, characters. */
const LONGEST_NAME = 256;

/** How long a connection to a host may take to be made, milliseconds. */
const CONNECT_MS = 30_000;

/** The forwards of one connection. */
export class Forwards {
  readonly #options: ForwardsOptions;
  readonly #listeners = new Map<string, readonly Listening[]>();
  readonly #open = new Set<Far>();
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
    if (this.#isOver) throw refuse(CHANNEL_REFUSAL.prohibited, "this connection ends");
    if (!this.#mayOpen(target)) throw refuse(CHANNEL_REFUSAL.prohibited, "this login may not be forwarded there");
    const descriptor = this.#options.takeDescriptor();
    if (!descriptor) throw refuse(CHANNEL_REFUSAL.shortage, "too many files are open");
    let far: Far;
    try {
      far = await this.#connect(target);
    } catch (cause) {
      descriptor[Symbol.dispose]();
      throw refuse(CHANNEL_REFUSAL.connectFailed, systemFailure(cause as Error));
    }
    log.info("ssh forward", { to });
    return {
      serve: (channel) => void this.#carry(channel, { far, what: { to } }).finally(() => descriptor[Symbol.dispose]()),
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

  async #connect(target: ForwardTarget): Promise<Far> {
    if (target.kind === "direct-streamlocal") {
      return new UserChannel(await this.#options.sockets.connectUnix(target.path));
    }
    const limit = AbortSignal.timeout(CONNECT_MS);
    const connecting = this.#connectTcp(target, limit).then((conn) => {
      if (limit.aborted) conn.close();
      return conn;
    });
    const conn = await Promise.race([connecting, rejectAfter(limit)]);
    conn.setNoDelay(true);
    return new ConnChannel(conn);
  }

  /** One address of the host after the other, until one takes the connection. */
  async #connectTcp({ host, port }: { host: string; port: number }, limit: AbortSignal): Promise<Deno.TcpConn> {
    const faults: unknown[] = [];
    for (const hostname of parseIp(host) ? [host] : await this.#addressesOf(host)) {
      try {
        limit.throwIfAborted();
        return await Deno.connect({ hostname, port });
      } catch (cause) {
        faults.push(cause);
      }
    }
    throw faults[0] ?? new Error("this connection ends");
  }

  async #addressesOf(host: string): Promise<readonly string[]> {
    using _turn = await this.#options.takeLookUp();
    if (this.#isOver) return [];
    return await lookUpName(host).catch((cause) => {
      throw new Error(`no address of ${JSON.stringify(host.slice(0, LONGEST_NAME))} is known`, { cause });
    });
  }

  async #carry(channel: SshChannel, { far, what }: { far: Far; what: LogFields }): Promise<void> {
    this.#open.add(far);
    await relay(channel, far);
    this.#open.delete(far);
    channel.close();
    far.close();
    const { receivedBytes, sentBytes } = channel;
    this.#options.log.info("ssh forward over", { ...what, receivedBytes, sentBytes });
  }

  #answer(request: ConnectionRequest): boolean | number {
    if (this.#isOver) return false;
    switch (request.kind) {
      case "tcpip-forward":
        return this.#listenTcp(request);
      case "streamlocal-forward":
        return this.#listenUnix(request.path);
      case "cancel-tcpip-forward":
        return this.#cancel(askedPort(request));
      case "cancel-streamlocal-forward":
        return this.#cancel(askedSocket(request.path));
      default:
        return false;
    }
  }

  #listenTcp({ address, port }: { address: string; port: number }): boolean | number {
    const { rights, sockets } = this.#options;
    // It goes back to the client with each connection, and no window limits that.
    if (address.length > LONGEST_NAME) {
      return this.#refused({ text: address.slice(0, LONGEST_NAME) }, "no address is as long");
    }
    const asked = askedPort({ address, port });
    if (port > 65535 || !rights.mayListen(address, port)) {
      return this.#refused(asked, "this login may not listen there");
    }
    if (!sockets.mayListen(port)) return this.#refused(asked, "the program's user may not listen on that port");
    const listening = this.#attempt(asked, 2, () => {
      const listeners = listenOnLoopback(port);
      const { port: found } = listeners[0]!.addr;
      return listeners.map((listener) => tcpListening(listener, { address, port: found }));
    });
    if (!listening) return false;
    const { port: found } = listening[0]!;
    return this.#serve(askedPort({ address, port: found! }), listening) && (port === 0 ? found! : true);
  }

  #listenUnix(path: string): boolean {
    const { rights, sockets } = this.#options;
    const asked = askedSocket(path);
    if (!rights.unixSockets) return this.#refused(asked, "this login may not listen there");
    const listening = this.#attempt(asked, 1, () => [unixListening(sockets.listenUnix(path), path)]);
    return listening !== undefined && this.#serve(asked, listening);
  }

  /** Listens, within what the client may have of descriptors. */
  #attempt(asked: Asked, most: 1 | 2, listen: () => Listening[]): Listening[] | undefined {
    if (this.#listeners.has(asked.key)) {
      this.#refused(asked, ALREADY);
      return undefined;
    }
    if (this.#listeners.size >= MAX_LISTENERS) {
      this.#refused(asked, `there are ${MAX_LISTENERS} already`);
      return undefined;
    }
    using taken = new DisposableStack();
    const descriptors = Array.from({ length: most }, () => taken.use(this.#options.takeDescriptor()));
    if (descriptors.includes(undefined)) {
      this.#refused(asked, "too many files are open");
      return undefined;
    }
    try {
      const listening = listen();
      taken.move();
      // There may be fewer than there could be.
      for (const unused of descriptors.splice(listening.length)) unused![Symbol.dispose]();
      return listening.map((one, index) => counted(one, descriptors[index]!));
    } catch (cause) {
      this.#refused(asked, systemFailure(cause as Error));
      return undefined;
    }
  }

  #refused({ text: at }: Pick<Asked, "text">, reason: string): false {
    this.#options.log.info("ssh remote forward refused", { at, reason });
    return false;
  }

  #serve(asked: Asked, listeners: readonly Listening[]): boolean {
    // Of a port that was found it is not known before.
    if (this.#listeners.has(asked.key)) {
      closeAll(listeners);
      return this.#refused(asked, ALREADY);
    }
    this.#options.log.info("ssh remote forward", listenFields(asked.text, listeners));
    this.#listeners.set(asked.key, listeners);
    for (const listener of listeners) {
      const { at } = listener;
      void (async () => {
        for (let found; (found = await listener.accept());) void this.#toClient(at, found);
      })().catch((cause) => this.#refused({ ...asked, text: at }, systemFailure(cause as Error)));
    }
    return true;
  }

  async #toClient(at: string, { near, forwarded }: { near: Far; forwarded: Forwarded }): Promise<void> {
    using descriptor = this.#options.takeDescriptor();
    const channel = descriptor && await this.#options.channels()?.openForwarded(forwarded).catch(() => undefined);
    const from = forwarded.kind === "tcpip" ? `${forwarded.originHost}:${forwarded.originPort}` : undefined;
    if (channel) {
      this.#options.log.info("ssh forward", { at, from });
      await this.#carry(channel, { far: near, what: { at, from } });
    }
    near.close();
  }

  #cancel({ key, text }: Asked): boolean {
    const listeners = this.#listeners.get(key);
    if (!listeners) return false;
    this.#listeners.delete(key);
    closeAll(listeners);
    this.#options.log.info("ssh remote forward over", listenFields(text, listeners));
    return true;
  }
}

function rejectAfter(limit: AbortSignal): Promise<never> {
  return new Promise((_, reject) =>
    limit.addEventListener("abort", () => reject(new Error(`no answer within ${CONNECT_MS / 1000} s`)), { once: true })
  );
}
