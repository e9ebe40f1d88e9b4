/**
 * The front door behind a platform that ends TLS (`KRUN_TUNNEL=h2c`, Cloud Run): the program as it is, and beside it a tunnel to the
 * ssh server. In: HTTP/2 without TLS, and HTTP/1.1, on one port. Out: requests to the program, and streams to the ssh port.
 *
 * Rule: RFC 9113, 3.3 (prior knowledge) and RFC 9110, 7.6 (message forwarding).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import * as http from "node:http";
import * as http2 from "node:http2";
import type * as net from "node:net";
import { KrunError } from "../core/errors.ts";
import { tunnelTarget } from "../core/hbone_target.ts";
import type { Logger } from "../core/log.ts";
import { readFailure } from "../kube/deno_files.ts";
import { requireRuntime } from "../kube/runtime.ts";
import { type Caller, Callers, type CallersOptions } from "./callers.ts";
import type { DescriptorBudget } from "./descriptor_budget.ts";
import { type Drainable, drainServer, type ServerDrainOptions } from "./drain.ts";
import { type FrontRequest, http1Request, http2Request } from "./front_request.ts";
import { endBetweenTurns, refuseStreams } from "./http2_session.ts";
import { addressOf } from "../net/tcp_channel.ts";
import { type Refusal, refuseStream, relayToPort } from "./local_stream.ts";
import type { Program } from "./program_request.ts";
import { proxy, refuse } from "./proxy.ts";
import { endWith, passUpgrade } from "./upgrade.ts";

/** Options of {@linkcode serveTunnel}. */
export interface TunnelServerOptions {
  /** Address to listen on; the platform sends requests to any. */
  readonly hostname: string;
  /** The first that nothing else holds; 0 is any free one. */
  readonly ports: readonly number[];
  readonly program: Program;
  /** Where the ssh server listens on 127.0.0.1. @default {there is none, and no tunnel} */
  readonly sshPort?: number | undefined;
  readonly log: Logger;
  /** What all callers together may have. */
  readonly descriptors: DescriptorBudget;
  /** Milliseconds for the first bytes of a connection, and for the ssh server to accept. @default {10_000} */
  readonly timeoutMs?: number;
  /** @default {a minute for the first request, 620 s without one} */
  readonly limits?: CallersOptions;
}

/** A running front door; disposing it cuts every connection. */
export interface TunnelServer extends AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
  /**
   * Takes no new connection and no new request; what is under way goes on, and a connection ends with it. Who is connected hears of
   * it by `connection: close` or GOAWAY first. Resolves when the program has all that was accepted.
   */
  drain(options: ServerDrainOptions): Promise<void>;
}

/** What a client of HTTP/2 begins with (RFC 9113, 3.4). */
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TIMEOUT_MS = 10_000;
/** As many requests as Cloud Run gives one instance, at most. */
const STREAMS = 1000;
const WINDOW_BYTES = 512 * 1024;
const CONNECTION_WINDOW_BYTES = 8 * WINDOW_BYTES;
/** For the first request, once the first bytes have come. */
const KNOCK_MS = 60_000;
/** Longer than Google's front ends keep a connection that they do not use, so that never both close it at once. */
const KEEP_ALIVE_MS = 620_000;

/** In place of a stream, where both ways cannot flow at once. */
const NEEDS_HTTP2: Refusal = { status: 505, reason: "the tunnel needs HTTP/2: name the container's port h2c" };
const NEEDS_POST: Refusal = { status: 405, reason: "the tunnel knows POST only" };
const FULL: Refusal = { status: 503, reason: "too many requests are under way here" };

/**
 * Listens until it is disposed. `POST /_hbone/22` streams to the ssh server, which authenticates its callers; nothing else below
 * `/_hbone` exists. Every other request goes to the program as it came, without `x-forwarded-client-cert`. Needs net permission
 * for the address and 127.0.0.1.
 *
 * @throws {KrunError} `HboneUnavailable` when the address cannot be listened on, `RuntimeTooOld`
 */
export async function serveTunnel(options: TunnelServerOptions): Promise<TunnelServer> {
  requireRuntime("2.9.0", "KRUN_TUNNEL");
  const door = new FrontDoor(options);
  const port = await door.listen();
  options.log.info("tunnel listens", { port, address: options.hostname });
  return { port, drain: (options) => drainServer(door, options), [Symbol.asyncDispose]: () => door.close() };
}

class FrontDoor implements Drainable {
  readonly #options: TunnelServerOptions;
  readonly #timeoutMs: number;
  readonly #end = new AbortController();
  readonly #sockets = new Set<net.Socket>();
  /** Connections of which nobody knows yet what they are. */
  readonly #unread = new Set<net.Socket>();
  readonly #callers: Callers;
  /** By the caller's address. */
  readonly #callerAt = new Map<string, Caller>();
  /** Connections of HTTP/1.1, and how many requests of each are under way. */
  readonly #requests = new Map<net.Socket, number>();
  readonly #sessions = new Set<http2.ServerHttp2Session>();
  /** It is the one that listens: Deno keeps no connection for a next request where it does not. */
  readonly #http1 = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0, noDelay: true });
  readonly #http2 = http2.createServer({
    settings: { maxConcurrentStreams: STREAMS, initialWindowSize: WINDOW_BYTES, enablePush: false },
  });
  #isEnding = false;
  #closed: Promise<unknown> | undefined;

  constructor(options: TunnelServerOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    this.#callers = new Callers(options.descriptors, { knockMs: KNOCK_MS, idleMs: KEEP_ALIVE_MS, ...options.limits });
    const [serveHttp1] = this.#http1.listeners("connection") as ((socket: net.Socket) => void)[];
    this.#http1.removeAllListeners("connection");
    this.#http1.on("connection", (socket) => this.#accept(socket, (ready) => serveHttp1!.call(this.#http1, ready)));
    this.#http1.on("request", (message, response) => this.#serve(message, response));
    this.#http1.on("upgrade", (message, socket, first) => this.#upgrade(message, socket as net.Socket, first));
    this.#http2.on("session", (session) => this.#begin(session));
    this.#http2.on("stream", (stream: http2.ServerHttp2Stream, headers) => this.#serveStream(stream, headers));
  }

  get port(): number {
    return (this.#http1.address() as net.AddressInfo).port;
  }

  get programPorts(): readonly number[] {
    return [this.#options.program.port];
  }

  /** @throws {KrunError} `HboneUnavailable` */
  async listen(): Promise<number> {
    const { hostname, ports, log } = this.#options;
    for (const port of ports) {
      const fault = await this.#listenOn(port);
      if (fault === undefined) {
        // One that nobody hears would end krun.
        this.#http1.on("error", ({ message }) => log.warn("tunnel failed", { reason: message }));
        return this.port;
      }
      if (fault.code !== "EADDRINUSE") throw cannotListen(hostname, [port], fault);
    }
    throw cannotListen(hostname, ports, new Error(ports.length > 1 ? "every one is taken" : "it is in use"));
  }

  announce(): void {
    this.#isEnding = true;
  }

  shut(): void {
    if (this.#closed) return;
    this.#isEnding = true;
    this.#closed = new Promise((resolve) => this.#http1.close(resolve));
    for (const socket of this.#unread) socket.destroy();
    for (const session of this.#sessions) refuseStreams(session);
    for (const [socket, requests] of this.#requests) if (requests === 0) socket.end();
  }

  finish(): void {
    for (const session of this.#sessions) session.close();
  }

  async close(): Promise<void> {
    this.#end.abort();
    this.shut();
    for (const socket of this.#sockets) socket.destroy();
    await this.#closed;
  }

  #listenOn(port: number): Promise<NodeJS.ErrnoException | undefined> {
    const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException | undefined>();
    this.#http1.once("error", resolve);
    const options = { port, host: this.#options.hostname, backlog: BACKLOG };
    this.#http1.listen(options, () => resolve(undefined));
    return promise.finally(() => this.#http1.off("error", resolve));
  }

  /** Looks at the first bytes: a server of either protocol then finds them as if nobody had. */
  #accept(socket: net.Socket, serveHttp1: (socket: net.Socket) => void): void {
    const caller = this.#closed ? undefined : this.#callers.enter(() => socket.destroy());
    if (caller === undefined) return void socket.destroy();
    const address = addressOf(socket);
    this.#callerAt.set(address, caller);
    this.#sockets.add(socket);
    this.#unread.add(socket);
    socket.once("close", () => {
      caller.left();
      if (this.#callerAt.get(address) === caller) this.#callerAt.delete(address);
      this.#sockets.delete(socket);
      this.#unread.delete(socket);
      this.#requests.delete(socket);
    });
    socket.on("error", () => {});
    // Of HTTP/1.1: the server leaves it half open, also before and between two requests.
    socket.once("end", () => (this.#requests.get(socket) ?? 0) === 0 && socket.destroySoon());
    socket.setTimeout(this.#timeoutMs, () => socket.destroy());
    let head = Buffer.alloc(0);
    const look = () => {
      for (let bytes; (bytes = socket.read()) !== null;) head = Buffer.concat([head, bytes]);
      const isHttp2 = PREFACE.startsWith(head.toString("latin1", 0, PREFACE.length));
      if (head.length === 0 || (isHttp2 && head.length < PREFACE.length)) return;
      this.#unread.delete(socket);
      socket.off("readable", look);
      socket.setTimeout(0);
      socket.removeAllListeners("timeout");
      socket.unshift(head);
      if (!isHttp2) {
        this.#requests.set(socket, 0);
        // Each request of a pipeline has its own.
        socket.setMaxListeners(0);
        return serveHttp1(socket);
      }
      // A server of HTTP/1.1 leaves its connections half open, and this one would stay so when its caller has left.
      socket.allowHalfOpen = false;
      this.#http2.emit("connection", socket);
    };
    socket.on("readable", look);
  }

  #begin(session: http2.ServerHttp2Session): void {
    endBetweenTurns(session);
    // Its socket is gone already.
    if (session.destroyed) return;
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    session.socket.setMaxListeners(0);
    session.on("error", ({ message }) => this.#options.log.debug("tunnel connection failed", { reason: message }));
    this.#sessions.add(session);
    session.once("close", () => this.#sessions.delete(session));
    if (this.#closed) session.close();
  }

  #serve(message: http.IncomingMessage, response: http.ServerResponse): void {
    const { sshPort } = this.#options;
    const { socket } = message;
    // It was told that it is over before this came.
    if (socket.writableEnded) return void socket.destroy();
    const ended = this.#underWay(socket);
    response.once("close", () => ended());
    const front = http1Request(message, response, { isLast: () => this.#isEnding && this.#requests.get(socket) === 1 });
    const target = tunnelTarget(front.path, sshPort);
    if (target === undefined) this.#proxy(front);
    else refuse(front, "status" in target ? target : NEEDS_HTTP2);
  }

  #serveStream(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    const { sshPort, descriptors } = this.#options;
    stream.on("error", () => {});
    const ended = this.#callerOf(stream.session?.socket)?.begin();
    stream.once("close", () => ended?.());
    const target = tunnelTarget(headers[":path"] ?? "", sshPort);
    if (headers[":method"] === "CONNECT") return refuseStream(stream, { status: 405, reason: "this is no proxy" });
    if (target === undefined) return this.#proxy(http2Request(stream, headers));
    if ("status" in target) return refuseStream(stream, target);
    if (headers[":method"] !== "POST") return refuseStream(stream, NEEDS_POST);
    const release = descriptors.stream();
    if (release === undefined) return refuseStream(stream, FULL);
    const { signal } = this.#end;
    const options = { timeoutMs: this.#timeoutMs, signal, unavailable: 502 } as const;
    void relayToPort(stream, target.port, options).finally(release);
  }

  #proxy(front: FrontRequest): void {
    const { program, descriptors } = this.#options;
    const release = descriptors.stream();
    if (release === undefined) refuse(front, FULL);
    else void proxy(front, program).finally(release);
  }

  #upgrade(message: http.IncomingMessage, socket: net.Socket, first: Buffer): void {
    const { sshPort, program, descriptors } = this.#options;
    const release = descriptors.stream();
    const ended = this.#underWay(socket);
    if (tunnelTarget(message.url ?? "", sshPort) !== undefined) endWith(socket, NEEDS_HTTP2);
    else if (release === undefined) endWith(socket, FULL);
    else return void passUpgrade({ message, socket, first }, program).finally(() => (release(), ended()));
    release?.();
    ended();
  }

  #callerOf(socket: Pick<net.Socket, "remoteAddress" | "remotePort"> | undefined): Caller | undefined {
    return socket && this.#callerAt.get(addressOf(socket));
  }

  /** Counts a request of HTTP/1.1 until what it gives is called. With the last one a connection ends that is not to have another. */
  #underWay(socket: net.Socket): () => void {
    const count = (more: number) => {
      const requests = this.#requests.get(socket);
      if (requests === undefined) return;
      this.#requests.set(socket, requests + more);
      if (this.#closed && requests + more === 0) socket.end();
    };
    count(1);
    const ended = this.#callerOf(socket)?.begin();
    return () => {
      ended?.();
      count(-1);
    };
  }
}

/** As many connections may come in one turn of the event loop, and have a descriptor until they are refused. */
const BACKLOG = 128;

function cannotListen(hostname: string, ports: readonly number[], cause: Error): KrunError {
  return new KrunError(
    "HboneUnavailable",
    `Cannot listen on ${hostname} port ${ports.join(" or ")} for KRUN_TUNNEL: ${readFailure(cause)}`,
    "free one of the ports, or give another one",
    { cause },
  );
}
