/**
 * Frames of HTTP/2 by hand, for what no library lets a test do: to allow everything and read nothing, and to see each frame. In:
 * a stream's headers. Out: the bytes with which a client begins, and what comes back (RFC 9113, 3.4 and 4.1).
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Types of frames (RFC 9113, 6). */
export const DATA = 0, HEADERS = 1, PRIORITY = 2, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8;
export const CONTINUATION = 9;

/** Flags of frames. */
export const END_STREAM = 1, ACK = 1, END_HEADERS = 4;

const INITIAL_WINDOW_SIZE = 4;
const LARGEST_WINDOW_BYTES = 2 ** 31 - 1;

/** What a client begins with (RFC 9113, 3.4). */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

/** One frame (RFC 9113, 4.1). */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** Numbers of 32 bits. */
export function uint32(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, at) => bytes.writeUInt32BE(number >>> 0, 4 * at));
  return bytes;
}

/** The payload of HEADERS, whose fields need no table. */
export function headerBlock(fields: readonly (readonly [string, string])[]): Buffer {
  return Buffer.concat(fields.map(field));
}

/** A field (RFC 7541, 6.2.2). */
function field([name, value]: readonly [string, string]): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]);
}

/** What a client sends that opens one stream and allows the server to send as much as HTTP/2 can say. */
export function greedyOpening(fields: readonly (readonly [string, string])[]): Uint8Array {
  const settings = Buffer.alloc(6);
  settings.writeUInt16BE(INITIAL_WINDOW_SIZE, 0);
  settings.writeUInt32BE(LARGEST_WINDOW_BYTES, 2);
  return Buffer.concat([
    PREFACE,
    frame(SETTINGS, 0, 0, settings),
    frame(WINDOW_UPDATE, 0, 0, uint32(LARGEST_WINDOW_BYTES - 65_535)),
    frame(HEADERS, END_HEADERS, 1, headerBlock(fields)),
  ]);
}

/** One frame that came. */
export interface RawFrame {
  readonly type: "DATA" | "HEADERS" | "RST_STREAM" | "GOAWAY" | "other";
  readonly stream: number;
  /** The last of its stream. */
  readonly endStream: boolean;
  /** Its length, or the error code of RST_STREAM. */
  readonly value: number;
}

const TYPES: Readonly<Record<number, RawFrame["type"]>> = { 0: "DATA", 1: "HEADERS", 3: "RST_STREAM", 7: "GOAWAY" };

/** The frames in a server's bytes; the last one may be cut. */
export function framesIn(bytes: Uint8Array): RawFrame[] {
  const frames: RawFrame[] = [];
  const buffer = Buffer.from(bytes);
  for (let at = 0; at + 9 <= buffer.length;) {
    const length = buffer.readUIntBE(at, 3);
    const type = TYPES[buffer[at + 3]!] ?? "other";
    const mayEnd = type === "DATA" || type === "HEADERS";
    const endStream = mayEnd && (buffer[at + 4]! & 1) === 1;
    const value = type === "RST_STREAM" ? buffer.readUInt32BE(at + 9) : length;
    frames.push({ type, stream: buffer.readUInt32BE(at + 5), endStream, value });
    at += 9 + length;
  }
  return frames;
}
