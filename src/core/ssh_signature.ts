/**
 * Signatures of SSH. In: a signature as it travels, what was signed, a public key. Out: whether it is that key's.
 *
 * Rules: RFC 8332, section 3 (RSA with SHA-2), RFC 5656, section 3.1.2 (ECDSA), RFC 8709, section 6 (Ed25519), and OpenSSH's PROTOCOL.u2f for
 * keys in an authenticator. A signature of RSA with SHA-1 (`ssh-rsa`) is none, nor one that a browser makes (`webauthn-sk-...`).
 *
 * @module
 */
import { createHash, verify } from "node:crypto";
import { isSecurityKey } from "./ssh_algorithm.ts";
import type { SshPublicKey } from "./ssh_public_key.ts";
import { concatBytes, SshFormatError, SshReader, sshUint32 } from "./ssh_wire.ts";

/**
 * Judges ECDSA over P-521 with SHA-512. In: a point of both coordinates (SEC 1, 2.3.3), the two numbers of the signature, 66 bytes each, and
 * what was signed. Never throws: a point off the curve has signed nothing.
 */
export type P521Verifier = (signed: {
  readonly point: Uint8Array;
  readonly numbers: Uint8Array;
  readonly data: Uint8Array;
}) => boolean;

/** What is to be judged. */
export interface SignatureQuestion {
  readonly key: SshPublicKey;
  /** The whole signature: the name of its algorithm, its value, and what an authenticator adds. */
  readonly signature: Uint8Array;
  /** What was signed. */
  readonly data: Uint8Array;
  /** The name that the signature must bear. @default {any that the type of the key allows} */
  readonly algorithm?: string;
  /** Of a key in an authenticator: its user must have touched it. @default {true} */
  readonly touchRequired?: boolean;
  /** A PIN or a finger must have been checked, which only an authenticator can do: another key is refused. @default {false} */
  readonly verifyRequired?: boolean;
  /** For keys whose curve the runtime does not have. @default {none: they have signed nothing} */
  readonly p521?: P521Verifier | undefined;
}

/** The answer, with the reason in words where it is none. */
export type SignatureVerdict =
  | { readonly valid: true; readonly counter?: number }
  | { readonly valid: false; readonly reason: string };

/** PROTOCOL.u2f: what the user did. */
const USER_PRESENT = 0x01, USER_VERIFIED = 0x04;

const RSA_HASHES: Readonly<Record<string, string>> = { "rsa-sha2-256": "sha256", "rsa-sha2-512": "sha512" };
/** RFC 5656, section 6.2.1. */
const CURVE_HASHES: Readonly<Record<number, string>> = { 256: "sha256", 384: "sha384", 521: "sha512" };

/** What an authenticator adds to a signature. */
interface Assertion {
  readonly flags: number;
  readonly counter: number;
}

/** Judges a signature. Never throws: what cannot be read is not valid. */
export function verifySignature(question: SignatureQuestion): SignatureVerdict {
  const { key, touchRequired = true, verifyRequired = false } = question;
  let assertion: Assertion | undefined;
  try {
    assertion = checkedSignature(question);
  } catch (error) {
    if (!(error instanceof SshFormatError)) throw error;
    return { valid: false, reason: `its signature is not valid: ${error.message}` };
  }
  const flags = assertion?.flags ?? 0;
  if (isSecurityKey(key.type) && touchRequired && !(flags & USER_PRESENT)) {
    return { valid: false, reason: "its authenticator was not touched" };
  }
  if (verifyRequired && !(flags & USER_VERIFIED)) {
    return { valid: false, reason: "its authenticator did not verify the user, which is required" };
  }
  return assertion === undefined ? { valid: true } : { valid: true, counter: assertion.counter };
}

/** @throws {SshFormatError} with the reason, when the signature is not the key's */
function checkedSignature({ key, signature, data, algorithm, p521 }: SignatureQuestion): Assertion | undefined {
  const reader = new SshReader(signature);
  const name = reader.text();
  const value = reader.string();
  const assertion = isSecurityKey(key.type) ? { flags: reader.uint8(), counter: reader.uint32() } : undefined;
  if (!reader.isAtEnd) throw new SshFormatError("bytes follow it");
  const fitting = key.type === "ssh-rsa" ? Object.keys(RSA_HASHES) : [key.type];
  if (!fitting.includes(name)) {
    throw new SshFormatError(`it is of ${JSON.stringify(name.slice(0, 64))}, which a key of ${key.type} does not make`);
  }
  if (algorithm !== undefined && name !== algorithm) {
    throw new SshFormatError(`it is of ${name}, and ${algorithm} was asked for`);
  }
  const signed = { name, value, data: assertion ? assertedData(key, assertion, data) : data };
  if (!isOfKey(key, signed, p521)) {
    throw new SshFormatError("the key has not signed this");
  }
  return assertion;
}

interface Signed {
  readonly name: string;
  readonly value: Uint8Array;
  readonly data: Uint8Array;
}

function isOfKey({ type, bits, keyObject, point }: SshPublicKey, { name, value, data }: Signed, p521?: P521Verifier) {
  if (type.includes("ecdsa")) {
    const numbers = ecdsaNumbers(value, Math.ceil(bits / 8));
    if (keyObject) return verify(CURVE_HASHES[bits]!, data, keyObject, derNumbers(numbers));
    if (!p521) throw new SshFormatError("the runtime that krun has does not know its curve");
    return p521({ point: point!, numbers: concatBytes(...numbers), data });
  }
  if (type === "ssh-rsa") return verify(RSA_HASHES[name]!, data, keyObject!, ofModulus(value, bits));
  return verify(null, data, keyObject!, value);
}

function ecdsaNumbers(value: Uint8Array, size: number): readonly Uint8Array[] {
  const reader = new SshReader(value);
  const numbers = [reader.magnitude(), reader.magnitude()].map((number) => padded(number, size));
  if (!reader.isAtEnd) throw new SshFormatError("bytes follow its numbers");
  return numbers;
}

/** `SEQUENCE { INTEGER r, INTEGER s }` (RFC 3279, 2.2.3): Deno 2.6 reads no other form, whatever `dsaEncoding` says. */
function derNumbers(numbers: readonly Uint8Array[]): Uint8Array {
  const SEQUENCE = 0x30, INTEGER = 0x02, LONG_OF_ONE_BYTE = 0x81;
  const integers = numbers.map((number) => {
    const first = number.findIndex((byte) => byte !== 0);
    const bytes = first < 0 ? number.subarray(-1) : number.subarray(first);
    const content = bytes[0]! & 0x80 ? concatBytes(new Uint8Array(1), bytes) : bytes;
    return concatBytes(Uint8Array.of(INTEGER, content.length), content);
  });
  const content = concatBytes(...integers);
  const length = content.length < 0x80 ? [content.length] : [LONG_OF_ONE_BYTE, content.length];
  return concatBytes(Uint8Array.of(SEQUENCE, ...length), content);
}

/** What an authenticator signs: it sees hashes only (PROTOCOL.u2f, SSH U2F signatures). */
function assertedData(key: SshPublicKey, { flags, counter }: Assertion, data: Uint8Array): Uint8Array {
  const [application, message] = [key.application!, data].map((bytes) => createHash("sha256").update(bytes).digest());
  return concatBytes(application!, Uint8Array.of(flags), sshUint32(counter), message!);
}

/** Some clients leave zeros at the front away, and OpenSSH takes that. */
function ofModulus(value: Uint8Array, bits: number): Uint8Array {
  return padded(value, Math.ceil(bits / 8));
}

function padded(number: Uint8Array, size: number): Uint8Array {
  if (number.length > size) throw new SshFormatError("a number of it is too large");
  return concatBytes(new Uint8Array(size - number.length), number);
}
