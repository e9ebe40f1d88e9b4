/**
 * A stream of a caller over HTTP/2, and a port of this machine. In: the stream, and what it asked for. Out: a relay, or a refusal
 * in words.
 *
 * @module
 */
import { constants, type ServerHttp2Stream } from "node:http2";
import { type Channel, relay } from "../net/channel.ts";
import { http2Channel } from "./http2_channel.ts";
import { connectLocally, tcpChannel } from "../net/tcp_channel.ts";

/** A status of HTTP and one line for a person. */
export interface Refusal {
  readonly status: number;
  readonly reason: string;
}

/** Options of {@linkcode relayToPort}. */
export interface RelayToPortOptions {
  /** Milliseconds that the port may take to accept. */
  readonly timeoutMs: number;
  /** Cuts the stream. */
  readonly signal: AbortSignal;
  /** Status when the port does not accept. */
  readonly unavailable: 502 | 503;
}

/** Answers 200 once the port of 127.0.0.1 has accepted, and relays until both halves have ended. Never rejects. */
export async function relayToPort(stream: ServerHttp2Stream, port: number, options: RelayToPortOptions): Promise<void> {
  const { signal, unavailable } = options;
  const near = http2Channel(stream, { resetCode: constants.NGHTTP2_CONNECT_ERROR });
  const socket = await connectFor(near, port, options);
  if (socket === undefined) return refuse(stream, near, { status: unavailable, reason: nothingAnswers(port) });
  const far = tcpChannel(socket);
  const cut = () => [near, far].forEach((channel) => channel.reset());
  signal.addEventListener("abort", cut);
  if (near.broken.aborted || signal.aborted || isOver(stream)) cut();
  else stream.respond({ ":status": 200 }, { waitForTrailers: true });
  await relay(near, far);
  signal.removeEventListener("abort", cut);
}

/** The connection, unless nobody wants it any more. `AbortSignal.any` would leave something behind at the lasting signal. */
async function connectFor(near: Channel, port: number, { timeoutMs, signal }: RelayToPortOptions) {
  const gone = new AbortController();
  const leave = () => gone.abort();
  const ends = [near.broken, signal];
  for (const end of ends) end.addEventListener("abort", leave);
  if (ends.some((end) => end.aborted)) leave();
  try {
    return await connectLocally(port, { timeoutMs, signal: gone.signal });
  } catch {
    return undefined;
  } finally {
    for (const end of ends) end.removeEventListener("abort", leave);
  }
}

/** Answers a stream that leads nowhere. To be called in the turn in which it came. */
export function refuseStream(stream: ServerHttp2Stream, refusal: Refusal): void {
  refuse(stream, http2Channel(stream), refusal);
}

function refuse(stream: ServerHttp2Stream, channel: Channel, { status, reason }: Refusal): void {
  if (isOver(stream)) return;
  stream.respond({ ":status": status, "content-type": TEXT }, { waitForTrailers: true });
  channel.write(new TextEncoder().encode(`${reason}\n`)).then(() => {
    channel.end();
    // What the caller would still send is not wanted.
    channel.reset();
  }, () => {});
}

/** A stream that its caller has left can have no answer any more. */
function isOver(stream: ServerHttp2Stream): boolean {
  return stream.closed || stream.destroyed;
}

/** The words for a port that does not accept. */
export function nothingAnswers(port: number): string {
  return `nothing answers on port ${port}`;
}

/** The type of one line for a person. */
export const TEXT = "text/plain; charset=utf-8";
