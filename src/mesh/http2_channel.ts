/**
 * A channel on one stream of an HTTP/2 connection: a CONNECT tunnel, or a request and an answer that flow at once.
 *
 * Four things that Deno 2.9.6's node:http2 leaves to its user, each seen by trying:
 *
 * - A stream that is closed with an error code first sends END_STREAM: the far side takes what it has for the whole. One that
 *   was opened with `waitForTrailers` ends by our hand alone, so it must be.
 * - A stream whose connection is closed without an error code ends like one that ended in order. Only what END_STREAM ends is
 *   pushed before the stream is closed.
 * - What the far side's window allows is written to the connection's socket at once, however much waits there: Envoy's window
 *   is 256 MiB. The socket tells how much waits.
 * - When the connection ends, its streams are destroyed, with what nobody has read yet. What END_STREAM has made whole is read
 *   before that.
 *
 * @module
 */
import { constants, type Http2Stream, type OutgoingHttpHeaders } from "node:http2";
import type * as net from "node:net";
import type * as tls from "node:tls";
import type { Channel } from "../net/channel.ts";
import { DuplexChannel } from "../net/node_stream.ts";

/** Options of {@linkcode http2Channel}. */
export interface Http2ChannelOptions {
  /** Code of a reset. @default {CANCEL} */
  readonly resetCode?: number;
  /** Fields that end our half, asked for when it ends. @default {none} */
  readonly trailers?: () => OutgoingHttpHeaders;
}

/** Bytes that may wait for the network on one connection before its streams wait. */
const MOST_QUEUED_BYTES = 1 << 20;

/**
 * The bytes of a stream.
 *
 * @param stream opened or answered with `waitForTrailers`, in this turn of the event loop
 */
export function http2Channel(stream: Http2Stream, { resetCode, trailers }: Http2ChannelOptions = {}): Channel {
  const endedInOrder = watchEndStream(stream);
  const unread = keepUnread(stream, endedInOrder);
  const half = new OwnHalf(stream, trailers ?? (() => ({})));
  const reset = () => half.reset(resetCode ?? constants.NGHTTP2_CANCEL);
  // Such a reset leaves what was sent before it as it is (RFC 9113, 8.1).
  const takesNoMore = () => endedInOrder() && stream.rstCode === constants.NGHTTP2_NO_ERROR;
  return new DuplexChannel(stream, { endedInOrder, unread, takesNoMore, reset, congestion: () => congestion(stream) });
}

/** How our half of a stream ends: by END_STREAM, or by a reset and nothing else. */
class OwnHalf {
  readonly #stream: Http2Stream;
  readonly #trailers: () => OutgoingHttpHeaders;
  #hasEnded = false;
  #wantsNoMore = false;

  constructor(stream: Http2Stream, trailers: () => OutgoingHttpHeaders) {
    this.#stream = stream;
    this.#trailers = trailers;
    stream.on("wantTrailers", () => this.#end());
  }

  reset(code: number): void {
    if (!this.#stream.writableEnded) return this.#close(code);
    this.#wantsNoMore = true;
    if (this.#hasEnded) this.#stopFarSide();
  }

  #end(): void {
    if (this.#stream.closed || this.#stream.destroyed) return;
    this.#stream.sendTrailers(this.#trailers());
    // Deno sends END_STREAM at this point of the loop, and a reset would overtake it.
    setImmediate(() => {
      this.#hasEnded = true;
      if (this.#wantsNoMore) this.#stopFarSide();
    });
  }

  /** Once all was said, NO_ERROR is how a server says that it needs no more (RFC 9113, 8.1). */
  #stopFarSide(): void {
    this.#close(constants.NGHTTP2_NO_ERROR);
  }

  #close(code: number): void {
    if (!this.#stream.destroyed) this.#stream.close(code);
  }
}

/** Whether the far side has ended its half. */
function watchEndStream(stream: Http2Stream): () => boolean {
  // What came in one piece with the headers was pushed before anybody was told of the stream.
  let came = stream.endAfterHeaders || stream.state.remoteClose === 1;
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk === null && !stream.closed) came = true;
    return push(chunk, encoding);
  };
  return () => came;
}

/** What the stream held when it was destroyed after its end in order; taken once. */
function keepUnread(stream: Http2Stream, endedInOrder: () => boolean): () => Uint8Array | undefined {
  let kept: Uint8Array | undefined;
  const destroy = stream.destroy.bind(stream);
  stream.destroy = (error) => {
    if (!stream.destroyed && endedInOrder()) kept = stream.read() ?? undefined;
    return destroy(error);
  };
  return () => {
    const taken = kept;
    kept = undefined;
    return taken;
  };
}

/** The connection's socket while too much waits there. */
function congestion({ session }: Http2Stream): net.Socket | tls.TLSSocket | undefined {
  if (session === undefined || session.destroyed) return undefined;
  return session.socket.writableLength > MOST_QUEUED_BYTES ? session.socket : undefined;
}
