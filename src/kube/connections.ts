/**
 * Which connection a request takes. Calls have one; watches have as many as they need, each with at most
 * {@linkcode WATCHES_PER_CONNECTION}. A connection that went silent, or belongs to a certificate of yesterday, is retired: it
 * takes nothing new and is closed when its last request has ended.
 *
 * @module
 */
import type { ClientCertificate } from "./transport.ts";

/** kube-apiserver allows 100 streams (`--http2-max-streams-per-connection`); proxies before it may count their own. */
export const WATCHES_PER_CONNECTION = 90;

/** What kind of request. */
export type Lane = "calls" | "watches";

/** One connection and the requests on it. */
export class Connection<Link extends { close(): void }> {
  #requests = 0;
  #retired = false;

  constructor(readonly link: Link, readonly lane: Lane, readonly certificate: ClientCertificate | undefined) {}

  /** Whether one more request may use it. */
  takes(lane: Lane, certificate: ClientCertificate | undefined): boolean {
    const room = lane === "calls" || this.#requests < WATCHES_PER_CONNECTION;
    return !this.#retired && this.lane === lane && this.certificate === certificate && room;
  }

  /** A request begins. */
  enter(): void {
    this.#requests++;
  }

  /** A request has ended. */
  leave(): void {
    this.#requests--;
    this.#closeIfDone();
  }

  /** Takes no more requests from now on. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#closeIfDone();
  }

  get retired(): boolean {
    return this.#retired;
  }

  #closeIfDone(): void {
    if (this.#retired && this.#requests === 0) this.link.close();
  }
}

/** All connections to one server. */
export class Connections<Link extends { close(): void }> {
  #open: Connection<Link>[] = [];

  /** @param connect makes a connection; nothing needs to be sent before its first request */
  constructor(private readonly connect: (certificate: ClientCertificate | undefined) => Link) {}

  /** A connection with room, entered. The caller calls `leave` on it, once. */
  take(lane: Lane, certificate: ClientCertificate | undefined): Connection<Link> {
    // Whoever comes with another certificate has renewed it: the former one is on its way out for all.
    for (const other of this.#open) if (other.certificate !== certificate) other.retire();
    this.#open = this.#open.filter((c) => !c.retired);
    let connection = this.#open.find((c) => c.takes(lane, certificate));
    if (!connection) {
      connection = new Connection(this.connect(certificate), lane, certificate);
      this.#open.push(connection);
    }
    connection.enter();
    return connection;
  }

  /** Retires all of them. */
  retireAll(): void {
    for (const connection of this.#open) connection.retire();
    this.#open = [];
  }
}
