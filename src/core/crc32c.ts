/**
 * The checksum that Google's secret and key services send beside a payload: CRC-32C (Castagnoli, RFC 3720 appendix B.4).
 *
 * @module
 */

/** The polynomial 0x1EDC6F41, its bits in the order in which bytes are fed. */
const POLYNOMIAL = 0x82f63b78;

/** Checksum of bytes, from 0 to 2^32 - 1. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}
