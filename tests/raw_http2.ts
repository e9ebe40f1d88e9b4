/**
 * Frames of HTTP/2 by hand, for what no library lets a test do: to allow everything and read nothing. In: a stream's headers. Out:
 * the bytes with which a client begins (RFC 9113, 3.4 and 4.1).
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
