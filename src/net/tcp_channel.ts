/**
 * A channel on a TCP connection, and how one to the program is made. By `node:net`, since Deno's own connections cannot be reset.
 *
 * Known fault of Deno 2.9.6: when a program ends its half before it has sent a single byte, and then reads so slowly that the
 * kernel takes no more, what waits for it fails with EPIPE, as if it had gone. The far side sees a reset then, not an end.
 *
 * @module
 */
import * as net from "node:net";
import type { Channel } from "./channel.ts";
import { DuplexChannel } from "./node_stream.ts";

/** The bytes of a connection that may be half open. A reset is a TCP segment with RST (RFC 9293, 3.5.3). */
export function tcpChannel(socket: net.Socket): Channel {
  // A connection that breaks has an error in place of an end.
  return new DuplexChannel(socket, { reset: () => socket.resetAndDestroy() });
}

/** Options of {@linkcode connectLocally}. */
export interface ConnectLocallyOptions {
  /** Milliseconds that the other side may take to accept. */
  readonly timeoutMs: number;
  /** Gives up. */
  readonly signal: AbortSignal;
}

/** A connection to a port of 127.0.0.1. @throws {Error} of node's, when nothing accepts it in time. */
export function connectLocally(port: number, { timeoutMs, signal }: ConnectLocallyOptions): Promise<net.Socket> {
  const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true, noDelay: true });
  const { promise, resolve, reject } = Promise.withResolvers<net.Socket>();
  const abort = () => socket.destroy(new Error("given up"));
  socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)));
  socket.once("connect", () => {
    socket.setTimeout(0);
    resolve(socket);
  });
  socket.once("error", reject);
  signal.addEventListener("abort", abort);
  if (signal.aborted) abort();
  return promise.finally(() => {
    signal.removeEventListener("abort", abort);
    socket.off("error", reject);
  });
}

/** Names a caller's connection to one of krun's ports while it is open. */
export function addressOf({ remoteAddress, remotePort }: Pick<net.Socket, "remoteAddress" | "remotePort">): string {
  return `${remoteAddress} ${remotePort}`;
}
