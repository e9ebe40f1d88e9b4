/**
 * The transport of the hot path: Deno's own `fetch`. No import, little memory, and one TLS connection for everything a start
 * asks for. It cannot skip verification or expect another server name: `node_transport.ts` does.
 *
 * @module
 */
import { isAtLeast } from "../core/runtime_version.ts";
import { abortable } from "./abort.ts";
import { type Connection, Connections, type Lane } from "./connections.ts";
import { type Answer, Exchange } from "./exchange.ts";
import { TimeLimit } from "./time_limit.ts";
import {
  type CallAnswer,
  type CallRequest,
  type ClientCertificate,
  ClientCertificateError,
  requireSendable,
  type Transport,
  type TransportRequest,
  type WatchAnswer,
  type WatchRequest,
} from "./transport.ts";

/** Where the server is and how it is verified. */
export interface NativeTransportOptions {
  readonly server: string;
  /** PEM; the runtime's own roots count as well, unless `ownNetwork` took them away. */
  readonly caPem: string | undefined;
  /** http, https or socks5 URL. */
  readonly proxyUrl?: string | undefined;
}

interface Link {
  readonly http: Deno.HttpClient;
  readonly http2Only: boolean;
  /** Settles with the failure of the handshake, if there is one. */
  readonly failure: PromiseWithResolvers<unknown>;
  close(): void;
}

/** Milliseconds within which the one request that has made the handshake tells why it failed. */
const FAILURE_TOLD_MS = 1_000;

/** `fetch` with one HTTP/2 connection for calls and others for watches. */
export class NativeTransport implements Transport {
  readonly #options: NativeTransportOptions;
  readonly #connections: Connections<Link>;
  #http2Only: boolean;

  constructor(options: NativeTransportOptions) {
    this.#options = options;
    // Without TLS nothing agrees on HTTP/2, and servers such as `kubectl proxy` speak HTTP/1.1.
    this.#http2Only = options.server.startsWith("https:");
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
    const { caPem, proxyUrl } = this.#options;
    const http2Only = this.#http2Only;
    const http = createHttpClient({
      ...(caPem === undefined ? {} : { caCerts: [caPem] }),
      ...certificate,
      ...(proxyUrl === undefined ? {} : { proxy: { url: proxyUrl } }),
      // With HTTP/1.1 allowed as well, requests that go out at once open a connection each, since nobody knows yet what
      // the server speaks: 50 objects would be 50 TLS handshakes.
      http1: !http2Only,
    });
    return { http, http2Only, failure: Promise.withResolvers(), close: () => http.close() };
  }

  async #send(path: string, lane: Lane, request: TransportRequest & Partial<CallRequest>, ms: number): Promise<Sent> {
    requireSendable(request.headers);
    for (;;) {
      const connection = this.#connections.take(lane, request.certificate);
      const exchange = new Exchange(connection, request, ms);
      try {
        return { exchange, answer: await this.#fetch(path, request, connection.link, exchange.signal) };
      } catch (error) {
        const reason = await this.#failure(exchange.failed(error), connection, exchange.signal);
        if (reason !== AGAIN) throw reason;
      }
    }
  }

  async #fetch(
    path: string,
    { method = "GET", body, headers }: TransportRequest & Partial<CallRequest>,
    link: Link,
    signal: AbortSignal,
  ): Promise<Answer> {
    const response = await fetch(this.#options.server + path, {
      method,
      body: body ?? null,
      // An array, since a Headers object joins lines of one name, and two groups would become one with a comma.
      headers: headers.map(([name, value]) => [name, value]),
      redirect: "manual",
      signal,
      client: link.http,
    });
    const header = (name: string) => response.headers.get(name) ?? undefined;
    // As a text in one piece: reading the body of each answer by pieces costs 0.3 ms more.
    return { status: response.status, header, text: () => response.text(), chunks: () => thriftily(response) };
  }

  /** Why a request failed, or that it is to be sent again: nothing of it has reached the server. */
  async #failure(error: unknown, connection: Connection<Link>, signal: AbortSignal): Promise<unknown> {
    const { failure, http2Only } = connection.link;
    if (signal.aborted) failure.resolve(AGAIN);
    if (signal.aborted || !http2Only) return error;
    const words = wordsOf(error);
    if (/client error \(Connect\)/.test(words)) connection.retire();
    if (!words.includes("request was canceled")) {
      failure.resolve(error);
      return this.#leavesHttp2(words) ? AGAIN : error;
    }
    // Requests that wait for the handshake of another one are told no more than that it is off: because it failed, which
    // the other one knows, or because the other one was given up.
    const limit = new TimeLimit(FAILURE_TOLD_MS, signal);
    const told = await abortable(failure.promise, limit.signal).catch(() => AGAIN).finally(() => limit.clear());
    return told === AGAIN || this.#leavesHttp2(wordsOf(told)) ? AGAIN : told;
  }

  /** A server that knows ALPN refuses the handshake; one that does not answers the HTTP/2 preface with HTTP/1.1. */
  #leavesHttp2(words: string): boolean {
    if (!/NoApplicationProtocol|frame with invalid size/.test(words)) return false;
    this.#http2Only = false;
    return true;
  }
}

/** In place of an error: the request is to be sent again. */
const AGAIN = Symbol("again");

interface Sent {
  readonly exchange: Exchange;
  readonly answer: Answer;
}

/** Bytes of a watch read at once. */
const WATCH_BUFFER_BYTES = 4096;

/** A body through a small buffer: the default one is 64 KiB, held by each watch while it waits, which is nearly always. */
async function* thriftily({ body }: Response): AsyncGenerator<Uint8Array> {
  if (!body) return;
  const reader = body.getReader({ mode: "byob" });
  let buffer = new Uint8Array(WATCH_BUFFER_BYTES);
  try {
    for (;;) {
      const { done, value } = await reader.read(buffer);
      if (done) return;
      yield value;
      buffer = new Uint8Array(value.buffer);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** The words of an error and of what caused it: Deno 2.6 says all in the error, 2.9 most in the cause. */
function wordsOf(error: unknown): string {
  return [error, (error as Error | undefined)?.cause].map((e) => e instanceof Error ? e.message : "").join(" ");
}

/** Deno 2.6.10 panics over a key pair that its HTTP client cannot use; a server that is never asked anything says why. */
function requireKeyPair(cert: string, key = ""): void {
  try {
    Deno.listenTls({ hostname: "127.0.0.1", port: 0, cert, key }).close();
  } catch (cause) {
    // No loopback: that is not the pair's fault.
    if (!(cause instanceof Deno.errors.AddrNotAvailable)) throw cause;
  }
}

/** The options are checked when a client is made; all but the client's own key pair was checked before. */
function createHttpClient(options: Deno.CreateHttpClientOptions & Partial<Deno.TlsCertifiedKeyPem>): Deno.HttpClient {
  try {
    if (options.cert !== undefined && !isAtLeast(Deno.version.deno, "2.9.0")) requireKeyPair(options.cert, options.key);
    return Deno.createHttpClient(options);
  } catch (cause) {
    throw options.cert === undefined ? cause : new ClientCertificateError(cause);
  }
}
