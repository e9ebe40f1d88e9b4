/**
 * The workload's HBONE endpoint: peers in the mesh reach the program's ports and the ssh server by HTTP/2 CONNECT over mutual
 * TLS. In: the certificates of the mesh's agent, who is admitted, what is reachable. Out: streams to ports of 127.0.0.1.
 *
 * Rule: RFC 9113, 8.5 (CONNECT), and what ztunnel and Envoy send to port 15008.
 *
 * @module
 */
import * as http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { Clock } from "../core/clock.ts";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import type { ReachableWorkload } from "../core/hbone_target.ts";
import type { Logger } from "../core/log.ts";
import { formatSpiffeId, type PeerPattern, sameTrustDomain } from "../core/spiffe_id.ts";
import { readFailure } from "../kube/deno_files.ts";
import { requireRuntime } from "../kube/runtime.ts";
import { type Caller, Callers } from "./callers.ts";
import type { DescriptorBudget } from "./descriptor_budget.ts";
import { type Drainable, drainServer, type ServerDrainOptions } from "./drain.ts";
import { DEFAULT_LIMITS, HboneConnection, type HboneLimits } from "./hbone_connection.ts";
import { MeshPeer, type PeerSocket, type PeerVerdict } from "./mesh_peer.ts";
import { addressOf } from "../net/tcp_channel.ts";
import {
  followWorkloadCertificates,
  readWorkloadCertificates,
  type WorkloadCertificates,
} from "./workload_certificates.ts";

/** Options of {@linkcode serveHbone}. */
export interface HboneServerOptions {
  /** Folder with `key.pem`, `cert-chain.pem` and `root-cert.pem`; it is watched. */
  readonly certificates: string;
  /** How those files are read. @default {by Deno} */
  readonly files?: FileReader | undefined;
  /** Address to listen on; `0.0.0.0` is all of IPv4, `::` all. */
  readonly hostname: string;
  /** The first that nothing else holds. @default {[15008, 15009]} */
  readonly ports?: readonly number[];
  /** Who is let in. @default {everyone in the trust domain of the certificate in use} */
  readonly allow?: readonly PeerPattern[] | undefined;
  /** What they reach. */
  readonly workload: ReachableWorkload;
  /** What the line that says where it listens says besides. @default {nothing} */
  readonly note?: string | undefined;
  readonly log: Logger;
  readonly clock: Clock;
  /** What all peers together may have. */
  readonly descriptors: DescriptorBudget;
  /** @default {DEFAULT_LIMITS} */
  readonly limits?: Partial<HboneLimits>;
}

/** A running endpoint; disposing it resets every stream. */
export interface HboneServer extends AsyncDisposable {
  /** Where it listens. */
  readonly port: number;
  /**
   * Lets nobody in any more, neither by a new connection nor by a new stream; streams that are open go on. Peers hear of it by GOAWAY
   * first. Resolves when the program has all that was accepted.
   */
  drain(options: ServerDrainOptions): Promise<void>;
}

/** Where HBONE is expected, and where the original listened. */
const PORTS = [15008, 15009];

/**
 * Listens until it is disposed. A peer must show a certificate that the mesh's roots verify and that names an admitted
 * workload (else the handshake fails, or its requests are answered 403); what it may reach is `connectTarget`'s rule; a program
 * that does not accept is 503. The workload's own certificate counts from the next connection on; each stream is
 * judged by the roots that are in force then, and by the time. Needs read permission for the folder, and net permission for the
 * address and 127.0.0.1.
 *
 * @throws {KrunError} `HboneUnavailable` when the certificates cannot be used or every port is taken, `RuntimeTooOld`
 */
export async function serveHbone(options: HboneServerOptions): Promise<HboneServer> {
  requireRuntime("2.9.0", "the HBONE endpoint");
  const certificates = await readWorkloadCertificates(options.certificates, options.files);
  const endpoint = new Endpoint(certificates, options);
  const port = await endpoint.listen();
  const { log, note } = options;
  log.info("hbone endpoint listens", { port, identity: formatSpiffeId(certificates.identity), ...(note && { note }) });
  return { port, drain: (options) => drainServer(endpoint, options), [Symbol.asyncDispose]: () => endpoint.close() };
}

class Endpoint implements Drainable {
  readonly #options: HboneServerOptions;
  readonly #limits: HboneLimits;
  readonly #server: http2.Http2SecureServer;
  readonly #end = new AbortController();
  readonly #sockets = new Set<Socket>();
  readonly #callers: Callers;
  /** By the peer's address. */
  readonly #callerAt = new Map<string, Caller>();
  readonly #connections = new Set<HboneConnection>();
  readonly #refused = new Set<string>();
  #certificates: WorkloadCertificates;
  #following: Promise<void> = Promise.resolve();
  #closed: Promise<unknown> | undefined;

  constructor(certificates: WorkloadCertificates, options: HboneServerOptions) {
    this.#certificates = certificates;
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#callers = new Callers(options.descriptors);
    const { handshakeMs, streams, windowBytes } = this.#limits;
    this.#server = http2.createSecureServer({
      ...secureContext(certificates),
      requestCert: true,
      rejectUnauthorized: true,
      ALPNProtocols: ["h2"],
      handshakeTimeout: handshakeMs,
      settings: { maxConcurrentStreams: streams, initialWindowSize: windowBytes, enablePush: false },
    });
    this.#server.on("connection", (socket) => this.#prepare(socket));
    // Scanners of ports are nobody's business.
    this.#server.on(
      "tlsClientError",
      (error) => options.log.debug("hbone handshake failed", { reason: error.message }),
    );
    this.#server.on("unknownProtocol", (socket) => socket.destroy());
    // One that nobody hears would end krun.
    this.#server.on("error", (error) => options.log.warn("hbone endpoint failed", { reason: error.message }));
    this.#server.on("session", (session) => this.#accept(session as http2.ServerHttp2Session));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get programPorts(): readonly number[] {
    return this.#options.workload.ports;
  }

  /** @throws {KrunError} `HboneUnavailable` */
  async listen(): Promise<number> {
    const { hostname, ports = PORTS, certificates, files, log } = this.#options;
    for (const port of ports) {
      const fault = await this.#listenOn(port);
      if (fault === undefined) {
        this.#following = followWorkloadCertificates(certificates, {
          current: this.#certificates,
          signal: this.#end.signal,
          files,
          log,
          onChange: (found) => this.#renew(found),
        });
        return this.port;
      }
      if ((fault as NodeJS.ErrnoException).code !== "EADDRINUSE") throw cannotListen(hostname, [port], fault);
    }
    throw cannotListen(hostname, ports, new Error("every one is taken"));
  }

  /** HTTP/2 has no such words for a server on node (see `refuseStreams`). */
  announce(): void {}

  shut(): void {
    if (this.#closed) return;
    this.#closed = new Promise((resolve) => this.#server.close(resolve));
    for (const connection of this.#connections) connection.refuseStreams();
  }

  finish(): void {
    for (const connection of this.#connections) connection.drain();
  }

  async close(): Promise<void> {
    this.#end.abort();
    this.shut();
    await Promise.all([...this.#connections].map((connection) => connection.close()));
    // Who has not finished the handshake, or does not read, must not hold up the end.
    for (const socket of this.#sockets) socket.destroy();
    await Promise.all([this.#closed, this.#following]);
  }

  #prepare(socket: Socket): void {
    const caller = this.#closed ? undefined : this.#callers.enter(() => socket.destroy());
    if (caller === undefined) return void socket.destroy();
    const address = addressOf(socket);
    this.#sockets.add(socket);
    this.#callerAt.set(address, caller);
    socket.once("close", () => {
      caller.left();
      this.#sockets.delete(socket);
      if (this.#callerAt.get(address) === caller) this.#callerAt.delete(address);
    });
    socket.setNoDelay(true);
    // A peer whose machine is gone says nothing; its streams would stay for ever.
    socket.setKeepAlive(true, this.#limits.keepAliveMs);
  }

  #listenOn(port: number): Promise<Error | undefined> {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    this.#server.once("error", resolve);
    this.#server.listen({ port, host: this.#options.hostname, backlog: BACKLOG }, () => resolve(undefined));
    return promise.finally(() => this.#server.off("error", resolve));
  }

  /** Connections that are open keep the certificate that they were shown; who opens a stream is judged by the new roots. */
  #renew(certificates: WorkloadCertificates): void {
    this.#certificates = certificates;
    this.#server.setSecureContext(secureContext(certificates));
  }

  #accept(session: http2.ServerHttp2Session): void {
    // Its socket is gone already.
    const caller = session.destroyed ? undefined : this.#callerAt.get(addressOf(session.socket));
    if (caller === undefined) return session.destroy();
    const { allow, log, clock, workload, descriptors } = this.#options;
    const peer = new MeshPeer(session.socket as PeerSocket);
    const judge = (): PeerVerdict => {
      const { identity, roots } = this.#certificates;
      const verdict = peer.judge({ allow: allow ?? sameTrustDomain(identity), roots, nowMs: clock.nowMs() });
      if ("refusal" in verdict) this.#tellRefused(verdict);
      return verdict;
    };
    // Who is refused goes first when there is no room.
    const isRefused = "refusal" in judge();
    if (!isRefused) caller.admit();
    const { endsMs } = peer;
    const options = { isRefused, judge, endsMs, workload, log, clock, descriptors, caller, limits: this.#limits };
    const connection = new HboneConnection(session, options);
    this.#connections.add(connection);
    session.once("close", () => this.#connections.delete(connection));
    if (this.#closed) connection.drain();
  }

  /** Once for each peer and reason: who knocks every second must not fill the log. */
  #tellRefused({ refusal, identity }: { refusal: string; identity?: string }): void {
    const key = `${identity} ${refusal}`;
    if (this.#refused.has(key) || this.#refused.size >= MOST_REFUSALS_TOLD) return;
    this.#refused.add(key);
    this.#options.log.warn("hbone peer refused", { identity, reason: refusal });
  }
}

const MOST_REFUSALS_TOLD = 100;

/** As many connections may come in one turn of the event loop, and have a descriptor until they are refused. */
const BACKLOG = 128;

function secureContext({ keyPem, certPem, rootPem }: WorkloadCertificates): http2.SecureServerOptions {
  return { key: keyPem, cert: certPem, ca: rootPem, minVersion: "TLSv1.2" };
}

function cannotListen(hostname: string, ports: readonly number[], cause: Error): KrunError {
  return new KrunError(
    "HboneUnavailable",
    `Cannot listen on ${hostname} port ${ports.join(" or ")} for HBONE: ${readFailure(cause)}`,
    "free one of the ports, or give another one",
    { cause },
  );
}
