/**
 * A whole HTTP/1.1 answer (RFC 9112). In: the bytes of a connection. Out: status, headers, body.
 *
 * @module
 */

/** An answer. */
export interface HttpAnswer {
  readonly status: number;
  /** By names in lower case; of a name that comes twice the first. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array;
}

/** Options of {@linkcode parseHttpAnswer}. */
export interface HttpAnswerOptions {
  /** More bytes may come: an answer that says no length is not whole then. @default {true} */
  readonly isEnd?: boolean;
}

/** Reads it; `undefined` when it is no answer, or not whole. */
export function parseHttpAnswer(bytes: Uint8Array, { isEnd = true }: HttpAnswerOptions = {}): HttpAnswer | undefined {
  const end = indexOfBlankLine(bytes);
  if (end === -1) return undefined;
  const [statusLine = "", ...lines] = latin1(bytes.subarray(0, end)).split("\r\n");
  const [, code] = /^HTTP\/1\.[01] (\d{3})(?: .*)?$/.exec(statusLine) ?? [];
  if (code === undefined) return undefined;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return undefined;
    if (!headers.has(name.toLowerCase())) headers.set(name.toLowerCase(), value);
  }
  const body = bodyOf(bytes.subarray(end + 4), headers) ??
    (isEnd ? bodyToEnd(bytes.subarray(end + 4), headers) : undefined);
  return body && { status: Number(code), headers, body };
}

function bodyOf(rest: Uint8Array, headers: ReadonlyMap<string, string>): Uint8Array | undefined {
  const coding = headers.get("transfer-encoding");
  if (coding !== undefined) return coding.toLowerCase() === "chunked" ? unchunked(rest) : undefined;
  const length = headers.get("content-length");
  if (length === undefined || !/^\d{1,9}$/.test(length) || rest.length < Number(length)) return undefined;
  return rest.subarray(0, Number(length));
}

/** Without a word of its length it ends with the connection. */
function bodyToEnd(rest: Uint8Array, headers: ReadonlyMap<string, string>): Uint8Array | undefined {
  return headers.has("transfer-encoding") || headers.has("content-length") ? undefined : rest;
}

/** RFC 9112, section 7.1. */
function unchunked(bytes: Uint8Array): Uint8Array | undefined {
  const parts: Uint8Array[] = [];
  for (let at = 0;;) {
    const lineEnd = indexOfLine(bytes, at);
    if (lineEnd === -1) return undefined;
    const [, hex] = /^([0-9A-Fa-f]{1,7})(?:[ \t]*;.*)?$/.exec(latin1(bytes.subarray(at, lineEnd))) ?? [];
    if (hex === undefined) return undefined;
    const length = Number.parseInt(hex, 16);
    if (length === 0) return joined(parts);
    const from = lineEnd + 2;
    if (bytes.length < from + length + 2) return undefined;
    parts.push(bytes.subarray(from, from + length));
    at = from + length + 2;
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function indexOfLine(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(13, from); at !== -1; at = bytes.indexOf(13, at + 1)) if (bytes[at + 1] === 10) return at;
  return -1;
}

function indexOfBlankLine(bytes: Uint8Array): number {
  for (let at = indexOfLine(bytes, 0); at !== -1; at = indexOfLine(bytes, at + 1)) {
    if (bytes[at + 2] === 13 && bytes[at + 3] === 10) return at;
  }
  return -1;
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}
