/**
 * A request to the program, in HTTP/1.1 or in HTTP/2 without TLS. In: the request's head, and its body as it comes. Out: the answer's
 * head, and its body as it comes.
 *
 * Each request has a connection of its own: none waits behind another, none meets a connection that the program is closing, and
 * what one caller sends can never become the beginning of another one's request.
 *
 * @module
 */
import * as http from "node:http";
import * as http2 from "node:http2";
import * as net from "node:net";
import type { Field } from "../core/proxy_fields.ts";
import type { ByteSink, ByteSource } from "../net/channel.ts";
import { http2Channel } from "./http2_channel.ts";
import { endBetweenTurns } from "./http2_session.ts";
import { fieldsOfHeaders, fieldsOfRaw, headersOf } from "./message_fields.ts";
import { ReadableSource, WritableSink } from "../net/node_stream.ts";

/** What the program speaks. */
export type ProgramProtocol = "http/1.1" | "h2c";

/** A program on this machine. */
export interface Program {
  /** Of 127.0.0.1. */
  readonly port: number;
  readonly protocol: ProgramProtocol;
}

/** What is asked. */
export interface ProgramRequest {
  readonly method: string;
  readonly path: string;
  /** Host, and port if it was named. */
  readonly authority: string;
  /** End to end. Without `host`. */
  readonly fields: readonly Field[];
  /** Whether there may be a body. */
  readonly hasBody: boolean;
  /** Whether the caller reads fields after the answer's body. */
  readonly takesTrailers: boolean;
  /** Fields after the body, asked for at its end. */
  trailers(): readonly Field[];
}

/** What the program says. */
export interface ProgramAnswer {
  readonly status: number;
  /** As they came. */
  readonly fields: readonly Field[];
  /** There is no body, and nothing comes after the head. */
  readonly endsWithHead: boolean;
  readonly body: ByteSource;
  /** Fields after the body, once that has ended. */
  trailers(): readonly Field[];
}

/** A request and an answer under way. */
export interface ProgramExchange {
  /** Takes the request's body. */
  readonly body: ByteSink;
  /** Rejects when the program does not answer. */
  readonly answer: Promise<ProgramAnswer>;
  /** Cuts both. */
  reset(): void;
}

/** A program answers 101 to a request that asked for no upgrade (RFC 9110, 7.8): what follows on its connection is no answer. */
export class UnaskedUpgrade extends Error {}

/** Sends a request's head. @throws {TypeError} when it holds what no head can hold. */
export function askProgram(program: Program, request: ProgramRequest): ProgramExchange {
  return program.protocol === "h2c" ? askByHttp2(program, request) : askByHttp1(program, request);
}

function askByHttp1(
  { port }: Program,
  { method, path, authority, fields, hasBody, trailers }: ProgramRequest,
): ProgramExchange {
  const connection = connectToProgram(port);
  const isSized = fields.some(([name]) => name.toLowerCase() === "content-length");
  const request = http.request({
    createConnection: () => connection,
    method,
    path,
    headers: {
      ...(authority === "" ? {} : { host: authority }),
      ...headersOf(fields),
      // node frames no body of a DELETE by itself: its bytes would be the next request.
      ...(hasBody && !isSized ? { "transfer-encoding": "chunked" } : {}),
    },
  });
  const { promise, resolve, reject } = Promise.withResolvers<ProgramAnswer>();
  request.on("error", reject);
  // A request that is destroyed before it has its connection tells nobody, and leaves that open.
  connection.once("close", () => reject(new Error("the connection has closed")));
  request.on("response", (message) => {
    // Also where more comes behind the answer's end.
    message.once("end", () => connection.destroy());
    resolve(http1Answer(message, method));
  });
  request.on("upgrade", (_answer, socket) => {
    socket.destroy();
    reject(new UnaskedUpgrade("the program has switched protocols, which nobody asked for"));
  });
  const sink = new WritableSink(request);
  if (hasBody) request.flushHeaders();
  const end = () => {
    if (!isSized) request.addTrailers(headersOf(trailers()));
    sink.end();
  };
  const body = { broken: sink.broken, write: (bytes: Uint8Array) => sink.write(bytes), end };
  const reset = () => {
    request.destroy();
    connection.destroy();
  };
  return { body, answer: promise, reset };
}

/** A connection for one request of HTTP/1.1. */
export function connectToProgram(port: number): net.Socket {
  return net.connect({ host: "127.0.0.1", port, noDelay: true });
}

function http1Answer(message: http.IncomingMessage, method: string): ProgramAnswer {
  const { statusCode: status = 0, rawHeaders } = message;
  return {
    status,
    fields: fieldsOfRaw(rawHeaders),
    endsWithHead: method === "HEAD" || status === 204 || status === 304,
    body: new ReadableSource(message, { endedInOrder: () => message.complete }),
    trailers: () => fieldsOfRaw(message.rawTrailers),
  };
}

function askByHttp2({ port }: Program, request: ProgramRequest): ProgramExchange {
  const session = http2.connect(`http://127.0.0.1:${port}`, { settings: { enablePush: false } });
  endBetweenTurns(session);
  const { promise, resolve, reject } = Promise.withResolvers<ProgramAnswer>();
  session.on("error", reject);
  let stream: http2.ClientHttp2Stream;
  try {
    stream = session.request(http2Head(request), { endStream: !request.hasBody, waitForTrailers: true });
  } catch (error) {
    session.destroy();
    throw error;
  }
  const channel = http2Channel(stream, { trailers: () => headersOf(request.trailers()) });
  let after: readonly Field[] = [];
  stream.on("trailers", (headers) => after = fieldsOfHeaders(headers));
  stream.on("response", (headers, flags) =>
    resolve({
      status: headers[":status"] ?? 0,
      fields: fieldsOfHeaders(headers),
      endsWithHead: (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0,
      body: channel,
      trailers: () => after,
    }));
  stream.on("close", () => {
    reject(new Error("the program has reset the stream"));
    session.close();
  });
  return { body: channel, answer: promise, reset: () => channel.reset() };
}

function http2Head({ method, path, authority, fields, takesTrailers }: ProgramRequest): http2.OutgoingHttpHeaders {
  return {
    ":method": method,
    ":path": path,
    ...(authority === "" ? {} : { ":authority": authority }),
    ...headersOf(fields),
    ...(takesTrailers ? { te: "trailers" } : {}),
  };
}
