/**
 * Keys of SSH in software, also those that lie in an authenticator, and certificates that ssh-keygen would not make. For tests only.
 *
 * @module
 */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { certificateType, isSecurityKey, type SshKeyType } from "../src/core/ssh_algorithm.ts";
import { parsePublicKey, type SshPublicKey } from "../src/core/ssh_public_key.ts";
import { concatBytes, SshReader, sshString, sshUint32 } from "../src/core/ssh_wire.ts";

/** How a signature is made. */
export interface SigningOptions {
  /** Of RSA. @default {"rsa-sha2-512"} */
  readonly algorithm?: string;
  /** What an authenticator says: 1, its user was there; 4, it has verified them. @default {1} */
  readonly flags?: number;
}

/** A key whose private half is here. */
export interface SoftwareKey {
  readonly publicKey: SshPublicKey;
  /** The whole signature, as it travels. */
  sign(data: Uint8Array, options?: SigningOptions): Uint8Array<ArrayBuffer>;
}

/** What a certificate says. What is left out makes one that is good. */
export interface CertificateContent {
  readonly key: SoftwareKey;
  readonly ca: SoftwareKey;
  readonly serial?: bigint;
  readonly type?: number;
  readonly keyId?: string;
  readonly principals?: readonly string[];
  readonly validAfter?: bigint;
  readonly validBefore?: bigint;
  readonly criticalOptions?: readonly (readonly [string, Uint8Array])[];
  readonly extensions?: readonly (readonly [string, Uint8Array])[];
  /** In place of the CA's blob. */
  readonly caBlob?: Uint8Array;
  readonly signing?: SigningOptions;
  /** What follows the signature. */
  readonly trailing?: Uint8Array;
}

export const NO_DATA: Uint8Array<ArrayBuffer> = new Uint8Array(0);

const CURVE_HASHES: Readonly<Record<string, string>> = { "256": "sha256", "384": "sha384", "521": "sha512" };
const utf8 = new TextEncoder();
const kept = new Map<string, SoftwareKey>();

/** A new key. Those of one `name` are the same: RSA keys take long. */
export function softwareKey(type: SshKeyType, name = "user"): SoftwareKey {
  const id = `${type} ${name}`;
  const key = kept.get(id) ?? makeKey(type);
  kept.set(id, key);
  return key;
}

function makeKey(type: SshKeyType): SoftwareKey {
  if (type === "ssh-rsa") return rsaKey();
  const curve = /nistp(\d+)/.exec(type)?.[1];
  const { publicKey, privateKey } = curve
    ? generateKeyPairSync("ec", { namedCurve: `P-${curve}` })
    : generateKeyPairSync("ed25519");
  const jwk = publicKey.export({ format: "jwk" });
  const fields = curve
    ? [sshString(`nistp${curve}`), sshString(concatBytes(Uint8Array.of(4), number(jwk, "x"), number(jwk, "y")))]
    : [sshString(number(jwk, "x"))];
  const application = isSecurityKey(type) ? [sshString("ssh:")] : [];
  return {
    publicKey: parsePublicKey(concatBytes(sshString(type), ...fields, ...application)),
    sign(data, { flags = 1 } = {}) {
      const assertion = isSecurityKey(type) ? concatBytes(Uint8Array.of(flags), sshUint32(7)) : NO_DATA;
      const message = isSecurityKey(type) ? concatBytes(sha256(utf8.encode("ssh:")), assertion, sha256(data)) : data;
      const value = curve ? ecdsaValue(message, { privateKey, curve }) : sign(null, message, privateKey);
      return concatBytes(sshString(type), sshString(value), assertion);
    },
  };
}

function rsaKey(): SoftwareKey {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = publicKey.export({ format: "jwk" });
  const blob = concatBytes(sshString("ssh-rsa"), mpint(number(jwk, "e")), mpint(number(jwk, "n")));
  return {
    publicKey: parsePublicKey(blob),
    sign(data, { algorithm = "rsa-sha2-512" } = {}) {
      const hash = algorithm === "ssh-rsa" ? "sha1" : algorithm.replace("rsa-sha2-", "sha");
      return concatBytes(sshString(algorithm), sshString(sign(hash, data, privateKey)));
    },
  };
}

/** A certificate's blob, signed by its CA. */
export function certificateBlob(content: CertificateContent): Uint8Array<ArrayBuffer> {
  const { key, ca, serial = 7n, type = 1, keyId = "somebody", principals = ["shop"] } = content;
  const { validAfter = 0n, validBefore = 2n ** 64n - 1n, criticalOptions = [], trailing = NO_DATA } = content;
  const { extensions = [["permit-port-forwarding", NO_DATA], ["permit-pty", NO_DATA]] } = content;
  const reader = new SshReader(key.publicKey.blob);
  reader.string();
  const signed = concatBytes(
    sshString(certificateType(key.publicKey.type)),
    sshString("a nonce"),
    reader.rest(),
    uint64(serial),
    sshUint32(type),
    sshString(keyId),
    sshString(concatBytes(...principals.map((name) => sshString(name)))),
    uint64(validAfter),
    uint64(validBefore),
    namedValues(criticalOptions),
    namedValues(extensions),
    sshString(""),
    sshString(content.caBlob ?? ca.publicKey.blob),
  );
  return concatBytes(signed, sshString(ca.sign(signed, content.signing)), trailing);
}

/** `uint64` of RFC 4251. */
export function uint64(value: bigint): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

/** `mpint` of RFC 4251, of a number that is not negative. */
export function mpint(magnitude: Uint8Array): Uint8Array<ArrayBuffer> {
  const first = magnitude.findIndex((byte) => byte !== 0);
  const bytes = first < 0 ? NO_DATA : magnitude.subarray(first);
  return sshString((bytes[0] ?? 0) & 0x80 ? concatBytes(Uint8Array.of(0), bytes) : bytes);
}

function ecdsaValue(data: Uint8Array, by: { privateKey: KeyObject; curve: string }): Uint8Array<ArrayBuffer> {
  const numbers = sign(CURVE_HASHES[by.curve], data, { key: by.privateKey, dsaEncoding: "ieee-p1363" });
  return concatBytes(mpint(numbers.subarray(0, numbers.length / 2)), mpint(numbers.subarray(numbers.length / 2)));
}

function namedValues(pairs: readonly (readonly [string, Uint8Array])[]): Uint8Array {
  return sshString(concatBytes(...pairs.flatMap(([name, data]) => [sshString(name), sshString(data)])));
}

function number(jwk: object, field: "x" | "y" | "e" | "n"): Uint8Array {
  return Uint8Array.fromBase64(String((jwk as Record<string, unknown>)[field]), { alphabet: "base64url" });
}

function sha256(bytes: Uint8Array): Uint8Array {
  return createHash("sha256").update(bytes).digest();
}
