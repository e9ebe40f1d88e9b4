/**
 * Room for large packets on their way out. In: the length of a payload. Out: memory with the lengths and the padding around it. Rules:
 * RFC 4253, section 6.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { randomFillSync } from "node:crypto";
import { MAX_PACKET } from "./channel.ts";

/** From here on a packet is made in the shared buffer; beside what a channel sends at once there are at most so many bytes. */
const LARGE_BYTES = 1024, MAX_HEAD = 64;

/** Where the payload of a packet begins. */
export const PAYLOAD_AT = 5;

let shared: Buffer | undefined;

/**
 * As ssh2's `allocPacket`, for ciphers with blocks of 16 bytes whose length field is not encrypted, which all that are offered are. Good until
 * the next call: a packet is encrypted before anything else happens, into bytes of its own, so that one buffer does for all. To allocate it
 * costs as much as a tenth of its encryption. `undefined` for packets that are not worth it.
 */
export function sharedPacket(payloadLength: number): Buffer | undefined {
  const BLOCK = 16, LEAST_PADDING = 4, LENGTH_FIELD = 4;
  if (payloadLength < LARGE_BYTES || payloadLength > MAX_PACKET + MAX_HEAD) return undefined;
  shared ??= Buffer.alloc(MAX_PACKET + MAX_HEAD + 2 * BLOCK + PAYLOAD_AT);
  let padding = BLOCK - (1 + payloadLength) % BLOCK;
  if (padding < LEAST_PADDING) padding += BLOCK;
  const packet = shared.subarray(0, PAYLOAD_AT + payloadLength + padding);
  packet.writeUInt32BE(packet.length - LENGTH_FIELD);
  packet[LENGTH_FIELD] = padding;
  randomFillSync(packet, packet.length - padding, padding);
  return packet;
}
