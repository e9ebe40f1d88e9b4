/**
 * Frames of HTTP/2 by hand, for what no library lets a test do: to allow everything and read nothing, and to see each frame. In:
 * a stream's headers. Out: the bytes with which a client begins, and what comes back (RFC 9113, 3.4 and 4.1).
 *
 * @module
 */
import { Buffer } from "node:buffer";

const SETTINGS = 4;
const HEADERS = 1;
const WINDOW_UPDATE = 8;
const END_HEADERS = 4;
const INITIAL_WINDOW_SIZE = 4;
const LARGEST_WINDOW_BYTES = 2 ** 31 - 1;

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A field that no table is needed for (RFC 7541, 6.2.2). */
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
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(LARGEST_WINDOW_BYTES - 65_535, 0);
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    frame(SETTINGS, 0, 0, settings),
    frame(WINDOW_UPDATE, 0, 0, increment),
    frame(HEADERS, END_HEADERS, 1, Buffer.concat(fields.map(field))),
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
