/**
 * The transport for what Deno's `fetch` cannot do: expect another name in the server's certificate (tls-server-name), not
 * verify it (insecure-skip-tls-verify), or connect to a port that the Fetch standard blocks. On `node:https`, so HTTP/1.1: each
 * watch has a connection of its own.
 *
 * Deno 2.9 verifies here as Node does; 2.6.10 does not look at the name at all. `openTransport` never gives this one to an
 * older runtime than 2.9.0.
 *
 * @module
 */
import * as http from "node:http";
import * as https from "node:https";
import type { Duplex } from "node:stream";
import { text } from "node:stream/consumers";
import * as tls from "node:tls";
import { Connections, type Lane } from "./connections.ts";
import { type Answer, Exchange } from "./exchange.ts";
import {
  type CallAnswer,
  type CallRequest,
  type ClientCertificate,
  requireSendable,
  type Transport,
  type TransportRequest,
  type WatchAnswer,
  type WatchRequest,
} from "./transport.ts";

/** Where the server is and how it is verified. */
export interface NodeTransportOptions {
  /** https only. */
  readonly server: string;
  readonly caPem: string | undefined;
  /** Name to ask for and to find in the certificate; unset: the URL's host. */
  readonly tlsServerName?: string | undefined;
  readonly insecureSkipTlsVerify: boolean;
  /** http or https URL. */
  readonly proxyUrl?: string | undefined;
}

interface Link {
  readonly agent: https.Agent;
  close(): void;
}

/** Calls share some kept connections; kube-apiserver sees no more of them than of a browser. */
const CALL_CONNECTIONS = 8;

/** `node:https`, calls on kept connections and a connection for each watch. */
export class NodeTransport implements Transport {
  readonly #options: NodeTransportOptions;
  readonly #connections: Connections<Link>;

  constructor(options: NodeTransportOptions) {
    this.#options = options;
    this.#connections = new Connections((certificate) => this.#connect(certificate));
  }

  async call(path: string, request: CallRequest): Promise<CallAnswer> {
    const { exchange, answer } = await this.#send(path, "calls", request, request.timeoutMs);
    return await exchange.whole(answer);
  }

  async watch(path: string, request: WatchRequest): Promise<WatchAnswer | CallAnswer> {
    const { exchange, answer } = await this.#send(path, "watches", request, request.silenceMs);
    return answer.status === 200 ? exchange.stream(answer) : await exchange.whole(answer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#connections.retireAll();
    return Promise.resolve();
  }

  #connect(certificate: ClientCertificate | undefined): Link {
    const { caPem, tlsServerName, insecureSkipTlsVerify, proxyUrl } = this.#options;
    const options: https.AgentOptions = {
      ...certificate,
      // An empty list, too: where the process trusts no CA (`ownNetwork`), Deno 2.9 verifies in spite of rejectUnauthorized
      // unless one is given.
      ...(caPem === undefined ? insecureSkipTlsVerify ? { ca: [] } : {} : { ca: caPem }),
      ...(tlsServerName === undefined ? {} : { servername: tlsServerName }),
      rejectUnauthorized: !insecureSkipTlsVerify,
      keepAlive: true,
      maxSockets: CALL_CONNECTIONS,
    };
    const agent = proxyUrl === undefined ? new https.Agent(options) : new TunnelAgent(options, new URL(proxyUrl));
    return { agent, close: () => agent.destroy() };
  }

  async #send(path: string, lane: Lane, request: TransportRequest & Partial<CallRequest>, ms: number): Promise<Sent> {
    requireSendable(request.headers);
    const connection = this.#connections.take(lane, request.certificate);
    const exchange = new Exchange(connection, request, ms);
    try {
      const { agent } = connection.link;
      if (lane === "watches") agent.maxSockets = Infinity;
      return { exchange, answer: await sendOn(agent, this.#options.server + path, request, exchange.signal) };
    } catch (error) {
      throw exchange.failed(error);
    }
  }
}

interface Sent {
  readonly exchange: Exchange;
  readonly answer: Answer;
}

function sendOn(
  agent: https.Agent,
  url: string,
  { method = "GET", body, headers }: TransportRequest & Partial<CallRequest>,
  signal: AbortSignal,
): Promise<Answer> {
  const lines: Record<string, string[]> = {};
  for (const [name, value] of headers) (lines[name] ??= []).push(value);
  return new Promise((resolve, reject) => {
    const request = https.request(url, { agent, method, headers: lines }, (message) => {
      // An answer that nobody reads any more says so when it is cut off; who reads it hears it there.
      message.on("error", () => {});
      message.once("close", () => signal.removeEventListener("abort", cut));
      const header = (name: string) => message.headers[name]?.toString();
      resolve({ status: message.statusCode ?? 0, header, text: () => text(message), chunks: () => message });
    });
    // Deno 2.9.6 forgets the `signal` of a request whose connection was used before.
    const cut = () => {
      request.destroy(signal.reason);
      reject(signal.reason);
    };
    signal.addEventListener("abort", cut);
    if (signal.aborted) cut();
    request.on("error", (error) => {
      signal.removeEventListener("abort", cut);
      reject(error);
    });
    request.end(body);
  });
}

/** Reaches the server by CONNECT through an http or https proxy; TLS with the server is inside. */
class TunnelAgent extends https.Agent {
  constructor(options: https.AgentOptions, private readonly proxy: URL) {
    super(options);
  }

  override createConnection(
    options: https.RequestOptions,
    done?: (error: Error | null, socket: Duplex) => void,
  ): Duplex | null | undefined {
    const proxy = this.proxy;
    const userInfo = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
    const target = `${options.host}:${options.port}`;
    const connect = (proxy.protocol === "https:" ? https : http).request(proxy, {
      method: "CONNECT",
      path: target,
      agent: false,
      // As client-go: the server's CA is the proxy's as well.
      ca: options.ca,
      headers: { host: target, ...(proxy.username ? { "proxy-authorization": `Basic ${btoa(userInfo)}` } : {}) },
    });
    const fail = (error: Error) => done?.(error, undefined as unknown as Duplex);
    connect.once("connect", (answer, socket) => {
      if (answer.statusCode === 200) return done?.(null, tls.connect({ ...options as tls.ConnectionOptions, socket }));
      socket.destroy();
      fail(new Error(`the proxy answered CONNECT with ${answer.statusCode}`));
    });
    connect.once("error", fail);
    connect.end();
    return undefined;
  }
}
