/**
 * A steady load by HBONE. In: an endpoint, the certificate of a workload. Out: what each stream saw.
 *
 * @module
 */
import { constants } from "node:http2";
import { Peer, type PeerOptions, readAll } from "../mesh_rig.ts";

/** What is asked for, and how much is sent there and back. */
export interface HboneLoadOptions extends PeerOptions {
  readonly host: string;
  readonly authority: string;
  readonly clients: number;
}

/** Bytes of a stream, in a few frames. */
const BYTES = new Uint8Array(40_000).fill(7);

/** What node says of a connection that ends in the TLS handshake: nothing was asked on it yet. */
const BEFORE_TLS = /disconnected before secure TLS connection was established/;

/** Clients of which half keep their connection, as long as it takes streams: every stream brings bytes there and back. */
export class HboneLoad {
  readonly #options: HboneLoadOptions;
  readonly #ended = new AbortController();
  readonly #clients: Promise<void>[];
  /** `whole`; `not begun`, when the endpoint said so, did not listen, or ended before it knew its caller; otherwise what went wrong. */
  readonly seen = new Map<string, number>();

  constructor(options: HboneLoadOptions) {
    this.#options = options;
    this.#clients = Array.from({ length: options.clients }, (_, number) => this.#call(number % 2 === 0));
  }

  count(outcome: string): number {
    return this.seen.get(outcome) ?? 0;
  }

  async end(): Promise<Record<string, number>> {
    this.#ended.abort();
    await Promise.all(this.#clients);
    return Object.fromEntries(this.seen);
  }

  async #call(keeps: boolean): Promise<void> {
    let peer: Peer | undefined;
    while (!this.#ended.signal.aborted) {
      if (!peer || peer.isOver || !keeps) {
        await peer?.[Symbol.asyncDispose]();
        peer = new Peer(15008, this.#options);
      }
      const outcome = await stream(peer, this.#options.authority);
      this.seen.set(outcome, this.count(outcome) + 1);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await peer?.[Symbol.asyncDispose]();
  }
}

async function stream(peer: Peer, authority: string): Promise<string> {
  const { status, channel, code, isPassedOver } = peer.open(authority);
  try {
    const answered = await status;
    if (answered !== 200) return `${answered}`;
  } catch {
    // Refused, or reset where the endpoint was shut before it had accepted.
    const isRefused = (peer.failure as NodeJS.ErrnoException | undefined)?.syscall === "connect" ||
      BEFORE_TLS.test(`${peer.failure}`);
    const isNotBegun = isRefused || code() === constants.NGHTTP2_REFUSED_STREAM ||
      peer.failure === undefined && isPassedOver();
    return isNotBegun ? "not begun" : `${peer.failure ?? code()}`;
  }
  try {
    const came = readAll(channel);
    await channel.write(BYTES);
    channel.end();
    const { length } = await came;
    return length === BYTES.length ? "whole" : `${length} bytes`;
  } catch (error) {
    return `cut: ${error}`;
  }
}
