/**
 * What both ways of AES-GCM have in common, `aes128-gcm@openssh.com` and `aes256-gcm@openssh.com`. In: a key's counter. Out: the next one.
 * Rules: RFC 5647, and OpenSSH's PROTOCOL.
 *
 * A packet is its length, which is not encrypted but authenticated; what is encrypted, as long as that says; and a tag.
 *
 * @module
 */

/** Bytes of a packet's parts. */
export const LENGTH_FIELD = 4, TAG = 16;

/** From here on a packet is worth the way to the threads of the Web's crypto, bytes. */
export const LARGE_BYTES = 4096;

/** The invocation counter is the last 64 of the 96 bits, big-endian (RFC 5647, 7.1). */
export function nextInvocation(iv: Uint8Array): void {
  for (let at = 11; at >= 4; at--) {
    iv[at]!++;
    if (iv[at] !== 0) return;
  }
}

/** For the Web's crypto. */
export function importGcmKey(key: Uint8Array<ArrayBuffer>, use: "encrypt" | "decrypt"): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", key, "AES-GCM", false, [use]);
}
