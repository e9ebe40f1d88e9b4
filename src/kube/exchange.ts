/**
 * One request that has been sent on a connection, until its answer has been read: keeps its time limit, and gives the
 * connection free, or up.
 *
 * @module
 */
import type { Connection } from "./connections.ts";
import { TimeLimit } from "./time_limit.ts";
import {
  type AnswerHead,
  type CallAnswer,
  SilentConnectionError,
  type TransportRequest,
  type WatchAnswer,
} from "./transport.ts";

/** The beginning of an answer, as a transport gets it. */
export interface Answer extends AnswerHead {
  /** Reads all of it. */
  text(): Promise<string>;
  /** Reads it as it comes. Of the two only one is called, once. */
  chunks(): AsyncIterable<Uint8Array>;
}

/** What a transport calls a connection. */
type AnyConnection = Connection<{ close(): void }>;

/** A request on its way. Every one ends by `whole`, by closing what `stream` gives, or by `failed`. */
export class Exchange {
  readonly #connection: AnyConnection;
  readonly #limit: TimeLimit;
  #ended = false;

  /** @param ms milliseconds until the whole answer, or between two chunks of it, must be there */
  constructor(connection: AnyConnection, { signal }: TransportRequest, ms: number) {
    this.#connection = connection;
    this.#limit = new TimeLimit(ms, signal);
  }

  /** Give it to the request itself. */
  get signal(): AbortSignal {
    return this.#limit.signal;
  }

  /** Reads the whole answer. */
  async whole(answer: Answer): Promise<CallAnswer> {
    const { status, header } = answer;
    try {
      return { status, header, text: await answer.text() };
    } catch (error) {
      throw this.#reason(error);
    } finally {
      this.#end();
    }
  }

  /** Hands on the answer as it comes. */
  stream(answer: Answer): WatchAnswer {
    const { status, header } = answer;
    const close = () => {
      if (!this.#ended) this.#limit.abort();
      this.#end();
    };
    return { status, header, chunks: this.#chunks(answer.chunks()), close };
  }

  async *#chunks(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const source = body[Symbol.asyncIterator]();
    try {
      for (;;) {
        // Only waiting is silence, not what the reader of the chunks does between two of them.
        this.#limit.restart();
        const next = await source.next();
        this.#limit.pause();
        if (next.done) return;
        yield next.value;
      }
    } catch (error) {
      throw this.#reason(error);
    } finally {
      // A source that has failed need not be told, and some fail again when they are.
      await source.return?.()?.catch(() => {});
      this.#end();
    }
  }

  /** The request failed before its answer began. Returns what to throw. */
  failed(error: unknown): unknown {
    this.#end();
    return this.#reason(error);
  }

  /** Transports say in their own words that they were aborted; the reason is known here. */
  #reason(error: unknown): unknown {
    if (this.#limit.expired) {
      this.#connection.retire();
      return new SilentConnectionError(this.#limit.ms);
    }
    return this.signal.aborted ? this.signal.reason : error;
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#limit.clear();
    this.#connection.leave();
  }
}
