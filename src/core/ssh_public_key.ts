/**
 * Public keys of SSH. In: a blob as it travels, or a line as it stands in a file. Out: the key, ready to check signatures.
 *
 * Rules: RFC 4253, section 6.6 (RSA), RFC 5656, section 3.1 (ECDSA), RFC 8709, section 4 (Ed25519), OpenSSH's PROTOCOL.u2f (keys in an
 * authenticator).
 *
 * @module
 */
import { createHash, createPublicKey, getCurves, type KeyObject } from "node:crypto";
import { certificateType, isSecurityKey, SSH_KEY_TYPES, type SshKeyType } from "./ssh_algorithm.ts";
import { concatBytes, SshFormatError, SshReader, sshString, SshTooShortError } from "./ssh_wire.ts";

/** The smallest modulus of RSA that krun believes, bits. */
const SMALLEST_RSA_BITS = 2048;
/** The largest one that node:crypto of Deno 2.9 takes, bits; OpenSSH goes to 16384. */
const LARGEST_RSA_BITS = 4096;
/** SEC 1: what begins a point that is written with both of its coordinates. */
const UNCOMPRESSED = 4;

/** Those of SSH's curves that the runtime has, all but P-521 (secp521r1 in SEC 2) in every one. */
const CURVES: ReadonlySet<string> = new Set([
  ...["nistp256", "nistp384"],
  ...getCurves().includes("secp521r1") ? ["nistp521"] : [],
]);

/** A key that was read. */
export interface SshPublicKey {
  readonly type: SshKeyType;
  /** How long its numbers are, as `ssh-keygen -l` says it. */
  readonly bits: number;
  /** The key as it travels. One key has one blob. */
  readonly blob: Uint8Array;
  /** The blob as it stands in a file: two keys are the same when this is. */
  readonly base64: string;
  /** What checks its signatures; unset where the runtime has no such curve, as Deno 2.6 has no P-521, and for RSA that is only named. */
  readonly keyObject: KeyObject | undefined;
  /** Of a key whose curve the runtime does not have: both coordinates, as SEC 1 has them. Whether it lies on the curve was not looked at. */
  readonly point?: Uint8Array;
  /** Of a key in an authenticator: for what it was made, mostly `ssh:`. */
  readonly application?: Uint8Array;
}

/** Options of the functions that read a key. */
export interface PublicKeyOptions {
  /** Whether it is only named, as in a list of what is revoked, and believed nothing: an RSA key may be of any size then. */
  readonly isOnlyNamed?: boolean;
}

/** Of what ends too early. */
const CUT = "the key is cut off: paste the whole line";

/** What the fields of a key say, before it is put together. */
type KeyFields = Pick<SshPublicKey, "bits" | "keyObject" | "point"> & { readonly fields: readonly Uint8Array[] };

/**
 * Reads a blob.
 *
 * @throws {SshFormatError} with the reason, for another type (a certificate too), a wrong length, a point that is not on its curve,
 * an RSA modulus of fewer than 2048 or more than 4096 bits, a number that is not in its one form, and for bytes that follow
 */
export function parsePublicKey(blob: Uint8Array, options: PublicKeyOptions = {}): SshPublicKey {
  const reader = new SshReader(blob);
  const key = readPublicKeyFields(publicKeyType(reader.text()), reader, options);
  if (!reader.isAtEnd) throw new SshFormatError("bytes follow the key");
  // Who could write a key in two ways could pass a revoked one off as another.
  if (key.base64 !== blob.toBase64()) throw new SshFormatError("a number of the key is not in its one form");
  return key;
}

/** Reads what follows the name of its type, also in a certificate. @throws {SshFormatError} as {@linkcode parsePublicKey} */
export function readPublicKeyFields(
  type: SshKeyType,
  reader: SshReader,
  { isOnlyNamed = false }: PublicKeyOptions = {},
): SshPublicKey {
  const { bits, keyObject, fields, point } = type === "ssh-rsa"
    ? rsaFields(reader, isOnlyNamed)
    : type.includes("ed25519")
    ? ed25519Fields(reader)
    : ecdsaFields(reader, /nistp\d+/.exec(type)![0]);
  const application = isSecurityKey(type) ? reader.string() : undefined;
  const blob = concatBytes(
    sshString(type),
    ...fields.map((field) => sshString(field)),
    ...(application === undefined ? [] : [sshString(application)]),
  );
  // A copy: the bytes that are read from may be used again.
  const own = { ...application && { application: application.slice() }, ...point && { point: point.slice() } };
  return { type, bits, blob, base64: blob.toBase64(), keyObject, ...own };
}

/**
 * Reads `type base64 comment`, as in `id_ed25519.pub`.
 *
 * @throws {SshFormatError} as {@linkcode parsePublicKey}, and where the line is none or its two types differ
 */
export function parsePublicKeyLine(
  line: string,
  options: PublicKeyOptions = {},
): { readonly key: SshPublicKey; readonly comment: string } {
  const { type, blob, comment } = splitKeyLine(line);
  const key = wholeKey(blob, options);
  if (key.type !== type) throw new SshFormatError(`the line says ${JSON.stringify(type)}, its key ${key.type}`);
  return { key, comment };
}

/** What was pasted in part says so. @throws {SshFormatError} as {@linkcode parsePublicKey} */
function wholeKey(blob: Uint8Array, options: PublicKeyOptions): SshPublicKey {
  try {
    return parsePublicKey(blob, options);
  } catch (cause) {
    if (cause instanceof SshTooShortError) throw new SshFormatError(CUT, { cause });
    throw cause;
  }
}

/** Takes `type base64 comment` apart, whatever the type. @throws {SshFormatError} where the line is none */
export function splitKeyLine(
  line: string,
): { readonly type: string; readonly blob: Uint8Array; readonly comment: string } {
  const [, type = "", base64 = "", comment = ""] = /^(\S+)[ \t]+([\w+/=]+)(?:[ \t]+(.*?))?\s*$/s.exec(line) ?? [];
  try {
    if (base64 === "") throw new SshFormatError("it is no line of a key, as: ssh-ed25519 AAAA... name");
    return { type, blob: Uint8Array.fromBase64(base64, { lastChunkHandling: "strict" }), comment };
  } catch (cause) {
    if (cause instanceof SshFormatError) throw cause;
    const isCut = /^AAAA[^=]*$/.test(base64) && base64.length % 4 !== 0;
    throw new SshFormatError(isCut ? CUT : "the key is no base64", { cause });
  }
}

/** `SHA256:...` of a blob, as OpenSSH prints it. */
export function sshFingerprint(blob: Uint8Array): string {
  return `SHA256:${createHash("sha256").update(blob).digest("base64").replace(/=+$/, "")}`;
}

function publicKeyType(name: string): SshKeyType {
  const type = SSH_KEY_TYPES.find((known) => known === name);
  if (type !== undefined) return type;
  if (SSH_KEY_TYPES.some((known) => certificateType(known) === name)) {
    throw new SshFormatError("it is a certificate, and no key");
  }
  throw new SshFormatError(`keys of type ${JSON.stringify(name.slice(0, 64))} are not taken`);
}

function ed25519Fields(reader: SshReader): KeyFields {
  const point = reader.string();
  if (point.length !== 32) throw new SshFormatError("an Ed25519 key has 32 bytes");
  return { bits: 256, fields: [point], keyObject: keyObject({ kty: "OKP", crv: "Ed25519", x: base64url(point) }) };
}

function ecdsaFields(reader: SshReader, curve: string): KeyFields {
  if (reader.text() !== curve) throw new SshFormatError(`its curve is not ${curve}`);
  const bits = Number(curve.slice("nistp".length));
  const size = Math.ceil(bits / 8);
  const point = reader.string();
  if (point.length !== 1 + 2 * size || point[0] !== UNCOMPRESSED) {
    throw new SshFormatError(`a point of ${curve} has both of its coordinates, of ${size} bytes`);
  }
  const fields = [new TextEncoder().encode(curve), point];
  if (!CURVES.has(curve)) return { bits, fields, keyObject: undefined, point };
  const [x, y] = [point.subarray(1, 1 + size), point.subarray(1 + size)].map(base64url);
  const jwk = { kty: "EC", crv: `P-${bits}`, x: x!, y: y! };
  return { bits, fields, keyObject: keyObject(jwk) };
}

function rsaFields(reader: SshReader, isOnlyNamed: boolean): KeyFields {
  const exponent = withoutZeros(reader.magnitude());
  const modulus = withoutZeros(reader.magnitude());
  const [first = 0] = modulus;
  const bits = Math.max(0, modulus.length - 1) * 8 + (32 - Math.clz32(first));
  const fields = [exponent, modulus].map(unsignedMpint);
  if (isOnlyNamed && bits > 0) return { bits, fields, keyObject: undefined };
  if (bits < SMALLEST_RSA_BITS) {
    throw new SshFormatError(`an RSA key has at least ${SMALLEST_RSA_BITS} bits, this one ${bits}`);
  }
  if (bits > LARGEST_RSA_BITS) {
    throw new SshFormatError(`an RSA key has at most ${LARGEST_RSA_BITS} bits, this one ${bits}`);
  }
  const jwk = { kty: "RSA", n: base64url(modulus), e: base64url(exponent) };
  return { bits, fields, keyObject: keyObject(jwk) };
}

/** What can be written with more zeros at its front is the same number. */
function withoutZeros(magnitude: Uint8Array): Uint8Array {
  const first = magnitude.findIndex((byte) => byte !== 0);
  return magnitude.subarray(first < 0 ? magnitude.length : first);
}

/** The content of an `mpint`: a zero keeps a number with a leading one from being negative (RFC 4251, section 5). */
function unsignedMpint(magnitude: Uint8Array): Uint8Array {
  return (magnitude[0] ?? 0) & 0x80 ? concatBytes(new Uint8Array(1), magnitude) : magnitude;
}

function keyObject(key: Record<string, string>): KeyObject {
  try {
    return createPublicKey({ key, format: "jwk" });
  } catch (cause) {
    throw new SshFormatError("its numbers are no key: a point off its curve, or an exponent that cannot be", { cause });
  }
}

function base64url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
