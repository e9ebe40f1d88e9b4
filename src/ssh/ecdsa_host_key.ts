/**
 * ECDSA host keys. In: one that ssh2 has read. Out: one that signs.
 *
 * OpenSSH writes the private number with as many bytes as it needs, and a zero before a leading one (RFC 4251, section 5); ssh2 puts these bytes
 * into SEC 1's form, where there is one length for each curve (RFC 5915, section 3). Deno's crypto refuses that: half of all keys.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, sign } from "node:crypto";
import { parsePublicKey } from "../core/ssh_public_key.ts";
import { SshFormatError } from "../core/ssh_wire.ts";
import type { Ssh2Key } from "./ssh2.ts";

/** RFC 5656, section 6.2.1. */
const HASHES: Readonly<Record<number, string>> = { 256: "sha256", 384: "sha384", 521: "sha512" };

/** DER's tags and its long form of a length. */
const SEQUENCE = 0x30, INTEGER = 0x02, OCTET_STRING = 0x04, LONG = 0x80;

/** The same key. @throws {Error} when its two halves do not belong together, or cannot be read */
export function ecdsaHostKey(key: Pick<Ssh2Key, "type" | "getPublicSSH" | "getPrivatePEM">): Ssh2Key {
  const { bits, keyObject } = parsePublicKey(key.getPublicSSH());
  if (!keyObject) throw new SshFormatError(`the runtime that krun has (Deno ${Deno.version.deno}) knows no P-${bits}`);
  const { crv, x, y } = keyObject.export({ format: "jwk" });
  const number = privateNumber(key.getPrivatePEM());
  const bytes = new Uint8Array(Math.ceil(bits / 8));
  bytes.set(number, bytes.length - number.length);
  const d = bytes.toBase64({ alphabet: "base64url", omitPadding: true });
  const jwk = { kty: "EC", crv: crv!, x: x!, y: y!, d };
  const privateKey = createPrivateKey({ key: jwk, format: "jwk" });
  return {
    type: key.type,
    isPrivateKey: () => true,
    getPublicSSH: () => key.getPublicSSH(),
    getPrivatePEM: () => key.getPrivatePEM(),
    sign: (data) => Buffer.from(sign(HASHES[bits]!, data, privateKey)),
  };
}

/** The number in `SEQUENCE { INTEGER 1, OCTET STRING number, ... }`, without zeros at its front. */
function privateNumber(pem: string): Uint8Array {
  const der = Uint8Array.fromBase64(pem.replace(/-----[^-]+-----|\s/g, ""));
  const isLong = (der[1] ?? 0) >= LONG;
  const start = 2 + (isLong ? der[1]! - LONG : 0);
  const [integer, one, version, octets, length = 0] = der.subarray(start);
  if (
    der[0] !== SEQUENCE || integer !== INTEGER || one !== 1 || version !== 1 || octets !== OCTET_STRING ||
    length >= LONG
  ) {
    throw new SshFormatError("it is no private key in the form of SEC 1");
  }
  const number = der.subarray(start + 5, start + 5 + length);
  const first = number.findIndex((byte) => byte !== 0);
  return number.subarray(first < 0 ? number.length : first);
}
