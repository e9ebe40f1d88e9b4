/**
 * A program with krun's front door before it, and callers of both protocols: what the tests of the tunnel start from.
 *
 * @module
 */
import * as http from "node:http";
import * as http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { text } from "node:stream/consumers";
import { DescriptorBudget } from "../src/mesh/descriptor_budget.ts";
import { endBetweenTurns } from "../src/mesh/http2_session.ts";
import { serveTunnel, type TunnelServer, type TunnelServerOptions } from "../src/mesh/tunnel_server.ts";
import { unusedPort } from "./tcp_program.ts";
import { RecordingLog } from "./recording_log.ts";

/** A request that the program got. */
export interface Seen {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, unknown>>;
  body: string;
  trailers: Readonly<Record<string, unknown>>;
}

/** What node's answers of both protocols have. */
export interface Response {
  writeHead(status: number, headers?: Record<string, string | string[]>): unknown;
  write(chunk: string, done?: () => void): unknown;
  addTrailers(trailers: Record<string, string>): unknown;
  end(body?: string): unknown;
  on(event: "close", act: () => void): unknown;
  /** Of HTTP/2 only. */
  readonly stream?: http2.ServerHttp2Stream;
}

/** What the program does with a request whose body has come. */
export type Reply = (response: Response, seen: Seen) => void;

/** A program of either protocol; it remembers what it got. */
export class WebProgram implements AsyncDisposable {
  readonly seen: Seen[] = [];
  readonly sockets: Socket[] = [];
  readonly #server: http.Server | http2.Http2Server;
  readonly protocol: "http/1.1" | "h2c";

  private constructor(protocol: "http/1.1" | "h2c", reply: Reply) {
    this.protocol = protocol;
    const serve = async (
      request: http.IncomingMessage | http2.Http2ServerRequest,
      response: http.ServerResponse | http2.Http2ServerResponse,
    ) => {
      const { method = "", url: path = "", headers } = request;
      const seen: Seen = { method, path, headers, body: "", trailers: {} };
      this.seen.push(seen);
      seen.body = await text(request).catch(() => "cut");
      seen.trailers = { ...request.trailers };
      reply(response as Response, seen);
    };
    const http2Server = http2.createServer(serve);
    http2Server.on("session", endBetweenTurns);
    this.#server = protocol === "h2c" ? http2Server : http.createServer(serve);
    this.#server.on("connection", (socket: Socket) => this.sockets.push(socket));
  }

  static async start(protocol: "http/1.1" | "h2c", reply: Reply): Promise<WebProgram> {
    const program = new WebProgram(protocol, reply);
    await new Promise<void>((resolve) => program.#server.listen(0, "127.0.0.1", () => resolve()));
    return program;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Hears of upgrades. */
  onUpgrade(act: (message: http.IncomingMessage, socket: Socket) => void): void {
    this.#server.on("upgrade", act);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await closed;
  }
}

/** An answer as a caller got it. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, unknown>>;
}

/** What a caller sends. */
export interface Call {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: string;
  readonly trailers?: Readonly<Record<string, string>>;
}

/** krun's front door before a program that may be down. */
export class TunnelRig implements AsyncDisposable {
  readonly log = new RecordingLog();
  readonly #stack = new AsyncDisposableStack();
  server!: TunnelServer;

  static async start(
    program: { readonly port: number; readonly protocol: "http/1.1" | "h2c" } = {
      port: unusedPort(),
      protocol: "http/1.1",
    },
    options: Partial<TunnelServerOptions> = {},
  ): Promise<TunnelRig> {
    const rig = new TunnelRig();
    const { port, protocol } = program;
    const descriptors = new DescriptorBudget(1024);
    const fixed = { hostname: "127.0.0.1", ports: [0], program: { port, protocol }, log: rig.log, descriptors };
    rig.server = rig.#stack.use(await serveTunnel({ ...fixed, ...options }));
    return rig;
  }

  /** A connection of HTTP/2 with prior knowledge. */
  session(): http2.ClientHttp2Session {
    const session = http2.connect(`http://127.0.0.1:${this.server.port}`);
    endBetweenTurns(session);
    session.on("error", () => {});
    this.#stack.defer(async () => {
      const closed = new Promise<void>((resolve) => session.closed ? resolve() : session.once("close", resolve));
      session.destroy();
      await closed;
    });
    return session;
  }

  /** Calls by HTTP/2. Rejects when the answer is cut. */
  async http2({ method = "GET", path = "/", headers = {}, body, trailers }: Call): Promise<Answer> {
    const stream = this.session().request({ ":method": method, ":path": path, ...headers }, {
      endStream: body === undefined,
      waitForTrailers: trailers !== undefined,
    });
    if (trailers) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    if (body !== undefined) stream.end(body);
    let after = {};
    stream.on("trailers", (got) => after = { ...got });
    const [head] = await new Promise<[http2.IncomingHttpHeaders]>((resolve, reject) => {
      stream.once("response", (got) => resolve([got]));
      stream.once("error", reject);
      stream.once("close", () => reject(new Error("cut")));
    });
    const cut = new Promise<never>((_, reject) => {
      stream.once("error", reject);
      stream.once("close", () => stream.rstCode !== 0 && reject(new Error(`cut with ${stream.rstCode}`)));
    });
    cut.catch(() => {});
    const received = await Promise.race([text(stream), cut]);
    return { status: Number(head[":status"]), headers: head, body: received, trailers: after };
  }

  /** Calls by HTTP/1.1. Rejects when the answer is cut. */
  async http1({ method = "GET", path = "/", headers = {}, body, trailers }: Call): Promise<Answer> {
    const { port } = this.server;
    const request = http.request({ host: "127.0.0.1", port, method, path, headers: { ...headers }, agent: false });
    if (trailers) request.addTrailers(trailers);
    request.end(body);
    const message = await new Promise<http.IncomingMessage>((resolve, reject) => {
      request.once("response", resolve);
      request.once("error", reject);
    });
    const received = await text(message);
    if (!message.complete) throw new Error("cut");
    return { status: message.statusCode!, headers: message.headers, body: received, trailers: { ...message.trailers } };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
