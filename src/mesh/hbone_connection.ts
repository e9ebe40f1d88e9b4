/**
 * One connection of a mesh peer, and its streams. In: a session of HTTP/2 and the verdict on the peer. Out: relays to ports of
 * 127.0.0.1.
 *
 * @module
 */
import type { IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from "node:http2";
import type { Clock } from "../core/clock.ts";
import { connectTarget, type ReachablePort, type ReachableWorkload } from "../core/hbone_target.ts";
import type { Logger } from "../core/log.ts";
import type { Caller } from "./callers.ts";
import type { DescriptorBudget } from "./descriptor_budget.ts";
import { endBetweenTurns, refuseStreams } from "./http2_session.ts";
import { type Refusal, refuseStream, relayToPort } from "./local_stream.ts";
import type { PeerVerdict } from "./mesh_peer.ts";

/** How much one connection of a peer may have. */
export interface HboneLimits {
  /** Milliseconds for the TLS handshake. */
  readonly handshakeMs: number;
  /** Milliseconds that the program may take to accept. */
  readonly connectMs: number;
  /** Milliseconds without any stream after which the connection is closed. */
  readonly idleMs: number;
  /** Milliseconds in all for a peer that is not let in. */
  readonly refusedIdleMs: number;
  /** Milliseconds of silence after which the kernel asks whether the peer's machine is still there. */
  readonly keepAliveMs: number;
  /** Streams at once. */
  readonly streams: number;
  /** Bytes of one stream that wait here when the program does not read; what a round trip can carry. */
  readonly windowBytes: number;
}

/** What holds where nothing else is said. Idle connections: as long as ztunnel keeps one for later. */
export const DEFAULT_LIMITS: HboneLimits = {
  handshakeMs: 10_000,
  connectMs: 10_000,
  idleMs: 300_000,
  refusedIdleMs: 10_000,
  keepAliveMs: 60_000,
  streams: 100,
  windowBytes: 512 * 1024,
};

/** Options of {@linkcode HboneConnection}. */
export interface HboneConnectionOptions {
  /** The peer was not let in when the connection began. */
  readonly isRefused: boolean;
  /** Whether the peer may open a stream now. */
  judge(): PeerVerdict;
  /** When its certificate ends, milliseconds since the epoch. */
  readonly endsMs: number;
  readonly workload: ReachableWorkload;
  readonly log: Logger;
  readonly clock: Clock;
  readonly descriptors: DescriptorBudget;
  /** Whose connection it is. */
  readonly caller: Caller;
  readonly limits: HboneLimits;
}

/** Streams that can be at their full speed together. */
const CONNECTION_WINDOWS = 8;

const FULL: Refusal = { status: 503, reason: "too many streams are open here" };

/** This long before the end of a peer's certificate its connection takes its last stream: agents renew at half of the life. */
const LAST_MS = 10_000;

/** How long frames of a closing connection may take to leave. */
const LAST_FRAMES_MS = 200;

/** Serves a session until it closes. */
export class HboneConnection {
  readonly #session: ServerHttp2Session;
  readonly #options: HboneConnectionOptions;
  readonly #end = new AbortController();
  readonly #closed: Promise<unknown>;
  #open = 0;
  #busy = new AbortController();

  constructor(session: ServerHttp2Session, options: HboneConnectionOptions) {
    endBetweenTurns(session);
    this.#session = session;
    this.#options = options;
    this.#closed = new Promise((resolve) => session.once("close", resolve));
    session.on("error", (error) => options.log.debug("hbone connection failed", { reason: error.message }));
    session.on("stream", (stream, headers) => void this.#serve(stream, headers));
    session.once("close", () => this.#busy.abort());
    // The connection's own window bounds no memory, only how much is on its way for all streams.
    session.setLocalWindowSize(CONNECTION_WINDOWS * options.limits.windowBytes);
    // Streams wait on the socket of their connection, all at once.
    session.socket.setMaxListeners(0);
    void this.#closeWhenIdle();
  }

  /** Takes no new stream; those that are open go on. */
  refuseStreams(): void {
    refuseStreams(this.#session);
  }

  /** Takes no new stream, and ends the connection with the last one that is open (RFC 9113, 6.8). */
  drain(): void {
    this.#session.close();
  }

  /** Resets every stream and gives what is to be sent a moment to leave. The socket is then the caller's to destroy. */
  async close(): Promise<void> {
    this.#end.abort();
    this.#session.close();
    const limit = new AbortController();
    const closed = this.#closed.finally(() => limit.abort());
    await Promise.race([closed, this.#options.clock.sleep(LAST_FRAMES_MS, limit.signal)]);
  }

  async #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): Promise<void> {
    // Every failure of a stream is its own end, which the other side sees for itself.
    stream.on("error", () => {});
    const peer = this.#options.judge();
    if ("refusal" in peer) return this.#refuse(stream, peer.refusal);
    this.#endBefore();
    this.#busy.abort();
    this.#open++;
    const ended = this.#options.caller.begin();
    try {
      const target = this.#judge(headers);
      const release = "port" in target ? this.#options.descriptors.stream() : undefined;
      if ("status" in target) refuseStream(stream, target);
      else if (release === undefined) refuseStream(stream, FULL);
      else await this.#relay(stream, { ...target, peer: peer.identity }).finally(release);
    } finally {
      ended();
      this.#open--;
      if (this.#open === 0) void this.#closeWhenIdle();
    }
  }

  /** Who is not let in hears why, once, and has no more of the time and descriptors that others need. */
  #refuse(stream: ServerHttp2Stream, reason: string): void {
    refuseStream(stream, { status: 403, reason: `this endpoint does not admit its caller: ${reason}` });
    this.#session.close();
  }

  #judge(headers: IncomingHttpHeaders): ReachablePort | Refusal {
    const { workload } = this.#options;
    if (headers[":method"] !== "CONNECT") return { status: 405, reason: "this endpoint knows CONNECT only" };
    return connectTarget(`${headers[":authority"] ?? ""}`, workload);
  }

  /** A peer whose certificate is about to end is to come again with the next one, before a stream of it has to be refused. */
  #endBefore(): void {
    const { endsMs, clock } = this.#options;
    if (endsMs - clock.nowMs() < LAST_MS) this.drain();
  }

  async #relay(stream: ServerHttp2Stream, { port, peer }: ReachablePort & { peer: string }): Promise<void> {
    const { log, limits } = this.#options;
    log.debug("hbone stream opened", { peer, port });
    await relayToPort(stream, port, { timeoutMs: limits.connectMs, signal: this.#end.signal, unavailable: 503 });
    log.debug("hbone stream ended", { peer, port });
  }

  async #closeWhenIdle(): Promise<void> {
    const { clock, limits, isRefused } = this.#options;
    const { signal } = this.#busy = new AbortController();
    if (this.#session.closed) return;
    await clock.sleep(isRefused ? limits.refusedIdleMs : limits.idleMs, signal);
    if (signal.aborted) return;
    this.#session.close();
    // Nor may one that is refused hold a stream open.
    if (isRefused) this.#session.destroy();
  }
}
