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
import { type FrontRequest, http1Request, http2Request } from "./front_request.ts";
import { endBetweenTurns } from "./http2_session.ts";
import { type Refusal, refuseStream, relayToPort } from "./local_stream.ts";
import type { Program } from "./program_request.ts";
import { proxy, refuse } from "./proxy.ts";
import { endWith, passUpgrade } from "./upgrade.ts";

/** Options of {@linkcode serveTunnel}. */
export interface TunnelServerOptions {
  /** Address to listen on; the platform sends requests to any. */
  readonly hostname: string;
  /** The platform's `PORT`; 0 is any free one. */
  readonly port: number;
  readonly program: Program;
  /** Where the ssh server listens on 127.0.0.1. @default {there is none, and no tunnel} */
  readonly sshPort?: number | undefined;
  readonly log: Logger;
  /** Milliseconds for the first bytes of a connection, and for the ssh server to accept. @default {10_000} */
  readonly timeoutMs?: number;
}

/** A running front door; disposing it cuts every connection. */
export interface TunnelServer extends AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
}

/** What a client of HTTP/2 begins with (RFC 9113, 3.4). */
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TIMEOUT_MS = 10_000;
/** As many requests as Cloud Run gives one instance, at most. */
const STREAMS = 1000;
const WINDOW_BYTES = 512 * 1024;
const CONNECTION_WINDOW_BYTES = 8 * WINDOW_BYTES;
/** Longer than Google's front ends keep a connection that they do not use, so that never both close it at once. */
const KEEP_ALIVE_MS = 620_000;

/** In place of a stream, where both ways cannot flow at once. */
const NEEDS_HTTP2: Refusal = { status: 505, reason: "the tunnel needs HTTP/2: name the container's port h2c" };
const NEEDS_POST: Refusal = { status: 405, reason: "the tunnel knows POST only" };

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
  options.log.info("tunnel listens", { port });
  return { port, [Symbol.asyncDispose]: () => door.close() };
}

class FrontDoor {
  readonly #options: TunnelServerOptions;
  readonly #timeoutMs: number;
  readonly #end = new AbortController();
  readonly #sockets = new Set<net.Socket>();
  /** It is the one that listens: Deno keeps no connection for a next request where it does not. */
  readonly #http1 = http.createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: 0, noDelay: true });
  readonly #http2 = http2.createServer({
    settings: { maxConcurrentStreams: STREAMS, initialWindowSize: WINDOW_BYTES, enablePush: false },
  });

  constructor(options: TunnelServerOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS;
    const [serveHttp1] = this.#http1.listeners("connection") as ((socket: net.Socket) => void)[];
    this.#http1.removeAllListeners("connection");
    this.#http1.on("connection", (socket) => this.#accept(socket, (ready) => serveHttp1!.call(this.#http1, ready)));
    this.#http1.on("request", (message, response) => this.#serve(http1Request(message, response)));
    this.#http1.on("upgrade", (message, socket, first) => this.#upgrade(message, socket as net.Socket, first));
    this.#http2.on("session", (session) => {
      endBetweenTurns(session);
      session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
      session.socket.setMaxListeners(0);
      session.on("error", ({ message }) => options.log.debug("tunnel connection failed", { reason: message }));
    });
    this.#http2.on("stream", (stream: http2.ServerHttp2Stream, headers) => this.#serveStream(stream, headers));
  }

  /** @throws {KrunError} `HboneUnavailable` */
  async listen(): Promise<number> {
    const { hostname, port } = this.#options;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#http1.once("error", reject);
        this.#http1.listen(port, hostname, resolve);
      });
    } catch (cause) {
      throw new KrunError(
        "HboneUnavailable",
        `Cannot listen on ${hostname}:${port} for KRUN_TUNNEL: ${readFailure(cause)}`,
        "choose a free address of this machine",
        { cause },
      );
    }
    return (this.#http1.address() as net.AddressInfo).port;
  }

  async close(): Promise<void> {
    this.#end.abort();
    const closed = new Promise((resolve) => this.#http1.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Looks at the first bytes: a server of either protocol then finds them as if nobody had. */
  #accept(socket: net.Socket, serveHttp1: (socket: net.Socket) => void): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.on("error", () => {});
    socket.setTimeout(this.#timeoutMs, () => socket.destroy());
    let head = Buffer.alloc(0);
    const look = () => {
      for (let bytes; (bytes = socket.read()) !== null;) head = Buffer.concat([head, bytes]);
      const isHttp2 = PREFACE.startsWith(head.toString("latin1", 0, PREFACE.length));
      if (head.length === 0 || (isHttp2 && head.length < PREFACE.length)) return;
      socket.off("readable", look);
      socket.setTimeout(0);
      socket.removeAllListeners("timeout");
      socket.unshift(head);
      if (isHttp2) this.#http2.emit("connection", socket);
      else serveHttp1(socket);
    };
    socket.on("readable", look);
  }

  #serve(front: FrontRequest): void {
    const { sshPort, program } = this.#options;
    const target = tunnelTarget(front.path, sshPort);
    if (target === undefined) void proxy(front, program);
    else refuse(front, "status" in target ? target : NEEDS_HTTP2);
  }

  #serveStream(stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders): void {
    const { sshPort, program } = this.#options;
    stream.on("error", () => {});
    const target = tunnelTarget(headers[":path"] ?? "", sshPort);
    if (headers[":method"] === "CONNECT") refuseStream(stream, { status: 405, reason: "this is no proxy" });
    else if (target === undefined) void proxy(http2Request(stream, headers), program);
    else if ("status" in target) refuseStream(stream, target);
    else if (headers[":method"] !== "POST") refuseStream(stream, NEEDS_POST);
    else {
      const { signal } = this.#end;
      void relayToPort(stream, target.port, { timeoutMs: this.#timeoutMs, signal, unavailable: 502 });
    }
  }

  #upgrade(message: http.IncomingMessage, socket: net.Socket, first: Buffer): void {
    const { sshPort, program } = this.#options;
    if (tunnelTarget(message.url ?? "", sshPort) === undefined) void passUpgrade({ message, socket, first }, program);
    else endWith(socket, NEEDS_HTTP2);
  }
}
