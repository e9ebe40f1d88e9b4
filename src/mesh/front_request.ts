/**
 * A request as a front end passes it on, of HTTP/1.1 or HTTP/2, in one shape. In: node's messages. Out: its head, its body, and a
 * way to answer.
 *
 * @module
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { type Field, fieldValue } from "../core/proxy_fields.ts";
import type { ByteSink, ByteSource } from "../net/channel.ts";
import { http2Channel } from "./http2_channel.ts";
import { fieldsOfHeaders, fieldsOfRaw, headersOf } from "./message_fields.ts";
import { ReadableSource, WritableSink } from "../net/node_stream.ts";

/** An answer's head. */
export interface FrontAnswer {
  readonly status: number;
  /** End to end. */
  readonly fields: readonly Field[];
  /** There is no body. */
  readonly endsWithHead: boolean;
  /** Fields after the body, asked for at its end. */
  trailers(): readonly Field[];
}

/** A request that is to be answered once. */
export interface FrontRequest {
  readonly method: string;
  readonly path: string;
  readonly authority: string;
  /** As they came, without `host`. */
  readonly fields: readonly Field[];
  /** Whether there may be a body. */
  readonly hasBody: boolean;
  readonly body: ByteSource;
  /** Fields after the body, once that has ended. */
  trailers(): readonly Field[];
  /** Sends an answer's head. @throws {TypeError} when it holds what no head can hold. */
  respond(answer: FrontAnswer): ByteSink;
  /** Cuts the request, and an answer that has not ended; of one that has, nothing is lost. */
  reset(): void;
}

/** Options of {@linkcode http1Request}. */
export interface Http1RequestOptions {
  /** Whether the connection is to end with the answer, asked for when its head is sent. */
  isLast(): boolean;
}

/** A request of HTTP/1.1. */
export function http1Request(
  message: IncomingMessage,
  response: ServerResponse,
  { isLast }: Http1RequestOptions,
): FrontRequest {
  const fields = fieldsOfRaw(message.rawHeaders);
  const cut = new AbortController();
  // An answer whose turn has not come, behind others of a pipeline, is not told that its connection has closed.
  const { socket } = message;
  const leave = () => cut.abort();
  socket.once("close", leave);
  for (const event of ["finish", "close"]) response.once(event, () => socket.off("close", leave));
  const sink = new WritableSink(response, {}, cut);
  return {
    method: message.method ?? "",
    path: message.url ?? "",
    authority: fieldValue(fields, "host") ?? "",
    fields: withoutHost(fields),
    hasBody: fields.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name)),
    body: new ReadableSource(message, { endedInOrder: () => message.complete }, cut),
    trailers: () => fieldsOfRaw(message.rawTrailers),
    respond({ status, fields, trailers }) {
      response.writeHead(status, headersOf(isLast() ? [...fields, ["connection", "close"]] : fields));
      const end = () => {
        response.addTrailers(headersOf(trailers()));
        sink.end();
      };
      return { broken: cut.signal, write: (bytes) => sink.write(bytes), end };
    },
    reset: () => void (response.writableEnded || message.socket.resetAndDestroy()),
  };
}

/** A request of HTTP/2. To be called in the turn in which the stream came. */
export function http2Request(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): FrontRequest {
  const fields = fieldsOfHeaders(headers);
  let before: readonly Field[] = [];
  let after: () => readonly Field[] = () => [];
  let isOver = false;
  stream.on("trailers", (trailers) => before = fieldsOfHeaders(trailers));
  const channel = http2Channel(stream, { trailers: () => headersOf(after()) });
  return {
    method: headers[":method"] ?? "",
    path: headers[":path"] ?? "",
    authority: headers[":authority"] ?? fieldValue(fields, "host") ?? "",
    fields: withoutHost(fields),
    hasBody: !stream.endAfterHeaders,
    body: channel,
    trailers: () => before,
    respond({ status, fields, endsWithHead, trailers }) {
      after = trailers;
      isOver = endsWithHead;
      const head = { ":status": status, ...headersOf(fields) };
      stream.respond(head, { endStream: endsWithHead, waitForTrailers: !endsWithHead });
      return channel;
    },
    // As the channel does for what it ends itself: later than the end, which a reset would overtake.
    reset: () => isOver ? void setImmediate(() => stream.close(constants.NGHTTP2_NO_ERROR)) : channel.reset(),
  };
}

function withoutHost(fields: readonly Field[]): Field[] {
  return fields.filter(([name]) => name.toLowerCase() !== "host");
}
