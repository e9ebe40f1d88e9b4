/**
 * What is revoked. In: the bytes of a file as sshd's `RevokedKeys` takes it, or of the text that `ssh-keygen -k` makes one from. Out:
 * whether a key or certificate is revoked.
 *
 * A file that cannot be read revokes everything: an error in it must not let in whom it names.
 *
 * Rules: ssh-keygen(1), KEY REVOCATION LISTS, and OpenSSH's PROTOCOL.krl. In a text, numbers and ids count for every CA.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { textOfBytes } from "./byte_text.ts";
import { isCertificateBlob, parseCertificate, type SshCertificate } from "./ssh_certificate.ts";
import { parseKrl } from "./ssh_krl.ts";
import { parsePublicKey, splitKeyLine, sshFingerprint, type SshPublicKey } from "./ssh_public_key.ts";
import { SSH_KEY_TYPES } from "./ssh_algorithm.ts";
import { addCertificates, type RevocationList, type RevokedCertificates } from "./ssh_revocation_list.ts";
import { SshFormatError, SshReader } from "./ssh_wire.ts";

/** What a file revokes: all of it, or a list. */
export type Revocations = { readonly everythingBecause: string } | RevocationList;

/** `SSHKRL`: how a binary list begins. No line of a text does. */
const KRL_MAGIC = new TextEncoder().encode("SSHKRL");

/** Reads a file, binary or text. Never throws: what cannot be read gives a list that revokes everything. */
export function parseRevokedKeys(bytes: Uint8Array): Revocations {
  try {
    const isKrl = KRL_MAGIC.every((byte, at) => bytes[at] === byte);
    return isKrl ? parseKrl(bytes) : parseRevocationText(textOfBytes(bytes));
  } catch (error) {
    if (!(error instanceof SshFormatError)) throw error;
    return { everythingBecause: error.message };
  }
}

/**
 * Why a key, or a certificate, is revoked, in words; `undefined` when it is not. A certificate is revoked with its key, with its CA's key, by
 * its number or by its id. As for OpenSSH, the number 0 is none: a CA that gives no numbers has nothing else.
 */
export function revocationReason(
  revocations: Revocations,
  { key, certificate }: { readonly key: SshPublicKey; readonly certificate?: SshCertificate },
): string | undefined {
  if ("everythingBecause" in revocations) {
    return `the list of revoked keys cannot be read: ${revocations.everythingBecause}`;
  }
  if (isRevokedKey(revocations, key)) return `the key ${sshFingerprint(key.blob)} is revoked`;
  if (certificate === undefined) return undefined;
  if (isRevokedKey(revocations, certificate.caKey)) {
    return `the certificate's CA ${sshFingerprint(certificate.caKey.blob)} is revoked`;
  }
  for (const revoked of revocations.certificates) {
    if (revoked.ca !== undefined && revoked.ca !== certificate.caKey.base64) continue;
    if (revoked.keyIds.has(certificate.keyId)) {
      return `the certificate's id ${JSON.stringify(certificate.keyId)} is revoked`;
    }
    if (hasSerial(revoked, certificate.serial)) return `the certificate's serial ${certificate.serial} is revoked`;
  }
}

function isRevokedKey({ keys, sha1, sha256 }: RevocationList, { base64, blob }: SshPublicKey): boolean {
  return keys.has(base64) || sha256.has(sshFingerprint(blob)) ||
    (sha1.size > 0 && sha1.has(createHash("sha1").update(blob).digest("hex")));
}

function hasSerial({ ranges, bitmaps }: RevokedCertificates, serial: bigint): boolean {
  if (serial === 0n) return false;
  if (ranges.some(({ first, last }) => first <= serial && serial <= last)) return true;
  return bitmaps.some(({ offset, bits }) => {
    const at = serial - offset;
    const byte = at < 0n ? undefined : bits.at(-1 - Number(at >> 3n));
    return byte !== undefined && (byte >> Number(at & 7n) & 1) === 1;
  });
}

/** @throws {SshFormatError} with the number of the line */
function parseRevocationText(text: string): RevocationList {
  const list = { keys: new Set<string>(), sha1: new Set<string>(), sha256: new Set<string>() };
  const certificates: RevokedCertificates[] = [];
  const everyCa = addCertificates(certificates, undefined);
  for (const [index, written] of text.split("\n").entries()) {
    const line = written.replace(/#.*$/s, "").trim();
    if (line === "") continue;
    try {
      const { kind, value } = revocationLine(line);
      if (/^serial$/i.test(kind)) everyCa.ranges.push(serialRange(value));
      else if (/^id$/i.test(kind)) everyCa.keyIds.add(value);
      else if (/^hash$/i.test(kind)) list.sha256.add(fingerprintIn(value));
      else revokeLine(value, { keys: list.keys, certificates, isWhole: kind === "" });
    } catch (cause) {
      if (!(cause instanceof SshFormatError)) throw cause;
      throw new SshFormatError(`line ${index + 1}: ${cause.message}`, { cause });
    }
  }
  return { ...list, certificates };
}

/** What a line may begin with. */
const KINDS = ["serial", "id", "key", "sha1", "sha256", "hash"];

/** A line's first word, which is empty for a key alone, and the rest. @throws {SshFormatError} for a word that is none */
function revocationLine(line: string): { readonly kind: string; readonly value: string } {
  const [, kind = "", value = line] = /^([\w-]+):\s*(.*)$/s.exec(line) ?? [];
  const word = kind.toLowerCase();
  if (kind !== "" && !KINDS.includes(word)) {
    throw new SshFormatError(`${JSON.stringify(kind.slice(0, 64))} is none of ${KINDS.join(", ")}`);
  }
  if (/^(?:(?:key|sha1|sha256):\s*)?SHA256:[\w+/]{43}=?$/i.test(line)) {
    throw new SshFormatError(
      'a fingerprint is revoked by "hash: SHA256:..."; key, sha1 and sha256 want the public key',
    );
  }
  return { kind, value };
}

/** Where a line's key goes to. */
interface LineTarget {
  readonly keys: Set<string>;
  readonly certificates: RevokedCertificates[];
  /** Whether a certificate on the line means itself, and not its key. */
  readonly isWhole: boolean;
}

function revokeLine(line: string, { keys, certificates, isWhole }: LineTarget): void {
  const { type, blob } = splitKeyLine(line);
  if (new SshReader(blob).text() !== type) throw new SshFormatError(`the key is none of type ${JSON.stringify(type)}`);
  if (isCertificateBlob(blob)) {
    const { key, caKey, serial, keyId } = parseCertificate(blob, { isOnlyNamed: true });
    if (!isWhole) keys.add(key.base64);
    else if (serial === 0n) addCertificates(certificates, caKey.base64).keyIds.add(keyId);
    else addCertificates(certificates, caKey.base64).ranges.push({ first: serial, last: serial });
    return;
  }
  // A list may name keys that krun never takes. One of a type that it takes must be whole, or a typing error would let its owner in.
  if (SSH_KEY_TYPES.some((known) => known === type)) parsePublicKey(blob, { isOnlyNamed: true });
  keys.add(blob.toBase64());
}

const NUMBER = "0x[0-9a-f]+|[0-9]+";
const LARGEST_SERIAL = 2n ** 64n - 1n;

/** One number or two, as strtoull(3) with base 0 reads them. */
function serialRange(text: string): { readonly first: bigint; readonly last: bigint } {
  const [, low, high = low] = new RegExp(`^(${NUMBER})(?:-(${NUMBER}))?$`, "i").exec(text) ?? [];
  const [first, last] = [serialNumber(low), serialNumber(high)];
  // The number 0 stands for none: ssh-keygen refuses it as well.
  if (!first || last === undefined || last < first) {
    throw new SshFormatError(`${JSON.stringify(text.slice(0, 64))} is no serial number, nor a range of them`);
  }
  return { first, last };
}

function serialNumber(text = ""): bigint | undefined {
  const octal = /^0[0-9]/.test(text);
  if (text === "" || (octal && /[89]/.test(text))) return undefined;
  const number = BigInt(octal ? `0o${text}` : text);
  return number <= LARGEST_SERIAL ? number : undefined;
}

function fingerprintIn(value: string): string {
  const [, base64 = ""] = /^SHA256:([\w+/-]{43})=?$/.exec(value) ?? [];
  if (base64 === "") throw new SshFormatError(`${JSON.stringify(value.slice(0, 64))} is no SHA256:... of a key`);
  return `SHA256:${base64}`;
}
