/**
 * How bytes get to an API server and back: the one interface that both transports fill. TLS and connections end here; who krun
 * is (headers) and what an answer means is decided above, in `api_client.ts`.
 *
 * Two kinds of traffic never share a connection: calls, which end soon, and watches, which stay open. kube-apiserver allows 100
 * streams a connection and lets more wait without a word, so watches would silently stop calls.
 *
 * @module
 */

/** A client certificate and its key, PEM. A renewed one is another object: transports compare by identity. */
export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

/** Header lines; one name may come several times. */
export type HeaderLines = readonly (readonly [name: string, value: string])[];

/** What both kinds of traffic have. */
export interface TransportRequest {
  readonly headers: HeaderLines;
  readonly certificate: ClientCertificate | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A call: sent whole, read whole. */
export interface CallRequest extends TransportRequest {
  /** PUT is for machines of other clouds: nothing is ever put into a cluster. */
  readonly method: "GET" | "POST" | "PUT";
  readonly body?: string | undefined;
  /** Milliseconds until the whole answer must be there. */
  readonly timeoutMs: number;
}

/** A watch: its answer comes as long as it likes. */
export interface WatchRequest extends TransportRequest {
  /** Longest time in milliseconds without a byte. */
  readonly silenceMs: number;
}

/** Status line and headers of an answer. */
export interface AnswerHead {
  readonly status: number;
  /** A header's value; its name in lower case. */
  header(name: string): string | undefined;
}

/** A whole answer. */
export interface CallAnswer extends AnswerHead {
  readonly text: string;
}

/** An answer that is still coming. Whoever gets it closes it. */
export interface WatchAnswer extends AnswerHead {
  /** To be read once. A chunk's bytes are good until the next one is asked for. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Ends the request, if the server has not, and frees its place. */
  close(): void;
}

/** The other end said nothing for too long. Later requests use a new connection. */
export class SilentConnectionError extends Error {
  override readonly name = "SilentConnectionError";

  constructor(silentMs: number) {
    super(`no answer within ${silentMs} ms`);
  }
}

/** krun's own certificate or key cannot be used: not PEM, or they do not belong together. */
export class ClientCertificateError extends Error {
  override readonly name = "ClientCertificateError";

  constructor(cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/**
 * Why no HTTP header can carry a text; `undefined` when one can. Never quotes it. Allowed is what a sender may use: visible
 * ASCII, space and tab (RFC 9110, section 5.5); the bytes above it would be read as another text than was meant.
 */
export function headerFault(value: string): string | undefined {
  if (/^[\t\x20-\x7e]*$/.test(value)) return undefined;
  const found = /[\r\n]/.test(value)
    ? "a line break"
    : /[^\0-\x7f]/.test(value)
    ? "a letter outside ASCII"
    : "a control character";
  return `it holds ${found}, which no HTTP header can carry`;
}

/** A header that cannot be sent. Says which one, never its value, which may be a token. */
export class HeaderError extends Error {
  override readonly name = "HeaderError";
}

/**
 * Refuses what the runtime would refuse with words that quote the value. Transports call it before anything else: whatever
 * the credentials are, their text is in no error.
 *
 * @throws {HeaderError}
 */
export function requireSendable(headers: HeaderLines): void {
  for (const [name, value] of headers) {
    // A token (RFC 9110, section 5.6.2).
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw new HeaderError("the name of a header cannot be sent");
    const state = headerFault(value);
    if (state !== undefined) throw new HeaderError(`header "${name}" cannot be sent: ${state}`);
  }
}

/** A way to one API server. Paths begin with a slash and include the query; a prefix in the server's URL is added here. */
export interface Transport extends AsyncDisposable {
  /**
   * One request and its whole answer, whatever its status. Redirects are not followed, since they could lead credentials away.
   *
   * @throws whatever the runtime says of a failed connection; {@linkcode SilentConnectionError}; {@linkcode HeaderError}; the
   * signal's reason.
   */
  call(path: string, request: CallRequest): Promise<CallAnswer>;
  /** A GET whose answer streams when its status is 200, and is read whole when not. @throws as `call`; so does reading. */
  watch(path: string, request: WatchRequest): Promise<WatchAnswer | CallAnswer>;
}
