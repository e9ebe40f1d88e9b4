/**
 * Requests to one API server: paths and bodies in, parsed objects or a {@linkcode KrunError} out. Joins a transport (bytes) with
 * credentials (who), counts, and makes sense of what goes wrong.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { JsonLines } from "../core/json_lines.ts";
import type { Logger } from "../core/log.ts";
import { retryDelayMs } from "../core/retry_delay.ts";
import type { WatchEvent } from "../core/watch_state.ts";
import { abortable, sleep } from "./abort.ts";
import { type ApiOperation, type ApiPlace, connectionError, statusError } from "./api_error.ts";
import type { Credential, Credentials } from "./credentials.ts";
import type { AnswerHead, CallAnswer, Transport, TransportRequest, WatchAnswer } from "./transport.ts";

/** Options of {@linkcode ApiClient}. */
export interface ApiClientOptions extends ApiPlace {
  readonly transport: Transport;
  readonly credentials: Credentials;
  readonly log: Logger;
  /** Ends what runs for nobody in particular. */
  readonly lifetime: AbortSignal;
  /** Milliseconds a call may take. @default {20_000} */
  readonly callTimeoutMs?: number | undefined;
  /** Longest wait between two tries of {@linkcode ApiClient.reached}, milliseconds. @default {5_000} */
  readonly retryMs?: number | undefined;
}

/** The first wait of {@linkcode ApiClient.reached}, and how long a try may take, milliseconds. */
const FIRST_KNOCK_MS = 500;
const KNOCK_TIMEOUT_MS = 5_000;

/** An operation that its caller may give up. */
type Cancellable = ApiOperation & { readonly signal?: AbortSignal | undefined };

/** One call. */
export interface ApiCall extends ApiOperation {
  /** With query. */
  readonly path: string;
  /** Sent by POST. */
  readonly body?: unknown;
  readonly signal?: AbortSignal | undefined;
}

/** One watch. */
export interface ApiWatch extends ApiOperation {
  /** With query. */
  readonly path: string;
  readonly signal: AbortSignal;
  /** Longest time without a byte, milliseconds. */
  readonly silenceMs: number;
}

/** The events of a watch. Whoever opened it closes it. */
export interface ApiEvents {
  /** To be read once. */
  readonly events: AsyncIterable<WatchEvent>;
  /** Ends the watch and frees its place on the connection. */
  close(): void;
}

/** A client of one API server with one identity. No call is tried again, but for one with renewed credentials after a 401. */
export class ApiClient implements AsyncDisposable {
  /** Requests made and failed so far. A 404 for an object that may be absent is no failure. */
  readonly counts = { requests: 0, errors: 0 };
  readonly #options: ApiClientOptions;
  /** Undefined before the first answer: at a start, whoever waits for it reports. */
  #reached: boolean | undefined;
  #knocking: Promise<void> | undefined;

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  /**
   * The answer's object; `undefined` for a 404 when `absent` is true.
   *
   * @throws {KrunError} see `api_error.ts`; or the signal's reason.
   */
  async call<T>(call: ApiCall, { absent = false } = {}): Promise<T | undefined> {
    const answer = await this.#send(call, (request) => this.#call(call, request));
    if (answer.status === 404 && absent) return undefined;
    if (answer.status >= 300) throw this.#failed(call, answer);
    return this.#parsed<T>(call, answer.text);
  }

  /**
   * Opens a watch; resolves when the server has accepted it, to `undefined` when it refuses the query's parameters (422).
   * Events that the server ends are over; a stream that breaks throws.
   *
   * @throws {KrunError} as `call`; so does reading the events.
   */
  async watch(watch: ApiWatch): Promise<ApiEvents | undefined> {
    const { silenceMs, path } = watch;
    const answer = await this.#send(watch, (request) => this.#options.transport.watch(path, { ...request, silenceMs }));
    if ("chunks" in answer) return { events: this.#events(watch, answer), close: () => answer.close() };
    if (answer.status === 422) return undefined;
    throw this.#failed(watch, answer);
  }

  /**
   * Resolves when the server answers anything at all, at the earliest after a short wait. All who wait share one request at a
   * time: while a server is away, a thousand watches cost what one costs.
   *
   * @throws the signal's reason.
   */
  async reached(signal: AbortSignal): Promise<void> {
    this.#knocking ??= this.#knock().finally(() => this.#knocking = undefined);
    await abortable(this.#knocking, signal);
  }

  /** An ERROR event as the failure it stands for. */
  eventError(
    operation: ApiOperation,
    failure: { code: number; message: string; retryAfterSeconds: number | undefined },
  ) {
    this.counts.errors++;
    const { code: status, message, retryAfterSeconds } = failure;
    const text = JSON.stringify({ message, details: { retryAfterSeconds } });
    return statusError(operation, { status, text }, this.#options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#knocking?.catch(() => {});
    await this.#options.transport[Symbol.asyncDispose]();
  }

  async #knock(): Promise<void> {
    const { lifetime, transport, retryMs: maxMs = 5_000 } = this.#options;
    const knock = { what: "reach the API server", signal: lifetime };
    for (let failures = 1; !lifetime.aborted; failures++) {
      await sleep(retryDelayMs(failures, { chance: Math.random(), firstMs: FIRST_KNOCK_MS, maxMs }), lifetime);
      try {
        await this.#send(knock, (request) => {
          return transport.call("/version", { ...request, method: "GET", timeoutMs: KNOCK_TIMEOUT_MS });
        });
        return;
      } catch (error) {
        // Not even credentials can be had, or the server is away still: both may change.
        if (!(error instanceof KrunError) && !lifetime.aborted) throw error;
      }
    }
  }

  #call({ path, body }: ApiCall, request: TransportRequest): Promise<CallAnswer> {
    const { transport, callTimeoutMs: timeoutMs = 20_000 } = this.#options;
    if (body === undefined) return transport.call(path, { ...request, method: "GET", timeoutMs });
    const headers = [...request.headers, ["content-type", "application/json"] as const];
    return transport.call(path, { ...request, headers, method: "POST", body: JSON.stringify(body), timeoutMs });
  }

  /** Sends with the credentials of now, and once more with newer ones if the server refuses them and there are any. */
  async #send<A extends AnswerHead>(
    operation: Cancellable,
    send: (request: TransportRequest) => Promise<A>,
  ): Promise<A> {
    const { credentials } = this.#options;
    const { signal } = operation;
    const used = await credentials.current(signal);
    const answer = await this.#sendAs(used, operation, send);
    if (answer.status !== 401 || !(await credentials.refused(used, signal))) return answer;
    return await this.#sendAs(await credentials.current(signal), operation, send);
  }

  async #sendAs<A extends AnswerHead>(
    { headers, certificate }: Credential,
    operation: Cancellable,
    send: (request: TransportRequest) => Promise<A>,
  ): Promise<A> {
    this.counts.requests++;
    try {
      const lines = [...headers, ["accept", "application/json"], ["user-agent", "krun"]] as const;
      const answer = await send({ headers: lines, certificate, signal: operation.signal });
      this.#isReached();
      return answer;
    } catch (error) {
      throw this.#broken(operation, error);
    }
  }

  async *#events(operation: ApiWatch, { chunks }: WatchAnswer): AsyncGenerator<WatchEvent> {
    const lines = new JsonLines();
    try {
      for await (const chunk of chunks) yield* lines.push(chunk) as WatchEvent[];
    } catch (error) {
      throw this.#broken(operation, error);
    }
  }

  #parsed<T>(call: ApiCall, text: string): T {
    try {
      return JSON.parse(text);
    } catch {
      // The parser's words would quote the answer: a Secret.
      const message = `Cannot ${call.what} at ${this.#options.server}: the answer is not JSON`;
      throw new KrunError("ApiRequestFailed", message, "check that the address is that of an API server");
    }
  }

  #failed(operation: ApiOperation, { status, header, text }: CallAnswer): KrunError {
    this.counts.errors++;
    return statusError(operation, { status, text, retryAfter: header("retry-after") }, this.#options);
  }

  #broken(operation: Cancellable, cause: unknown): unknown {
    if (operation.signal?.aborted) return cause;
    const error = connectionError(operation, cause, this.#options);
    if (!(error instanceof KrunError)) return error;
    this.counts.errors++;
    // A watch may be cut off where calls get through. Whoever follows knocks next, which tells of the server.
    if ("silenceMs" in operation) return error;
    if (this.#reached) this.#options.log.warn("API server cannot be reached", { reason: error.message });
    if (this.#reached) this.#reached = false;
    return error;
  }

  #isReached(): void {
    if (this.#reached === false) {
      this.#options.log.info("API server is reached again", { server: this.#options.server });
    }
    this.#reached = true;
  }
}
