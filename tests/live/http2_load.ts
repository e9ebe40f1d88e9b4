/**
 * A steady load by HTTP/2 without TLS. In: an address, how many clients. Out: what each request saw.
 *
 * @module
 */
import * as http2 from "node:http2";
import { endBetweenTurns } from "../../src/mesh/http2_session.ts";

/** Between two requests of one client, milliseconds. */
const PAUSE_MS = 20;

/**
 * What a request saw: its status; `refused`, when nobody listened; `not begun`, when the server said that it had not looked at it
 * (RFC 9113, 8.7), so that it can be sent to another one; otherwise what went wrong.
 */
export type Outcome = string;

/** Clients that ask again and again until they are told to end. Half of them keep their connection. */
export class Http2Load {
  readonly #origin: string;
  readonly #ended = new AbortController();
  readonly #clients: Promise<void>[];
  readonly seen = new Map<Outcome, number>();

  constructor(origin: string, clients: number) {
    this.#origin = origin;
    this.#clients = Array.from({ length: clients }, (_, number) => this.#ask(number % 2 === 0));
  }

  /** How often something was seen. */
  count(outcome: Outcome): number {
    return this.seen.get(outcome) ?? 0;
  }

  /** Ends it, when each client has its last answer. */
  async end(): Promise<Record<Outcome, number>> {
    this.#ended.abort();
    await Promise.all(this.#clients);
    return Object.fromEntries(this.seen);
  }

  async #ask(keeps: boolean): Promise<void> {
    let connection: Connection | undefined;
    while (!this.#ended.signal.aborted) {
      // One that was told of a GOAWAY takes no new request.
      if (!keeps || !connection || connection.session.closed || connection.session.destroyed) {
        connection?.session.destroy();
        connection = this.#connect();
      }
      const outcome = await request(connection);
      this.seen.set(outcome, this.count(outcome) + 1);
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    connection?.session.destroy();
  }

  #connect(): Connection {
    const session = http2.connect(this.#origin);
    endBetweenTurns(session);
    const connection: Connection = { session };
    session.on("error", (error) => connection.failure = error);
    session.on("goaway", () => session.close());
    return connection;
  }
}

interface Connection {
  readonly session: http2.ClientHttp2Session;
  failure?: NodeJS.ErrnoException;
}

async function request(connection: Connection): Promise<Outcome> {
  const stream = connection.session.request({ ":path": "/" });
  let status = "cut";
  stream.on("response", (headers) => status = `${headers[":status"]}`);
  stream.on("error", () => {});
  stream.resume();
  await new Promise((resolve) => stream.once("close", resolve));
  // Of a connection that fails the streams are told first.
  await new Promise((resolve) => setImmediate(resolve));
  const { NGHTTP2_NO_ERROR, NGHTTP2_REFUSED_STREAM } = http2.constants;
  if (stream.rstCode === NGHTTP2_REFUSED_STREAM) return "not begun";
  if (connection.failure?.code === "ECONNREFUSED") return "refused";
  if (connection.failure) return connection.failure.message;
  return stream.rstCode === NGHTTP2_NO_ERROR ? status : `reset ${stream.rstCode}`;
}
