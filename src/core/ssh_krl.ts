/**
 * Binary lists of revoked keys. In: the bytes of a file that `ssh-keygen -k` has made. Out: what it revokes.
 *
 * Rule: OpenSSH's PROTOCOL.krl.
 *
 * @module
 */
import { textOfBytes } from "./byte_text.ts";
import { parsePublicKey } from "./ssh_public_key.ts";
import { addCertificates, type RevocationList, type RevokedCertificates } from "./ssh_revocation_list.ts";
import { SshFormatError, SshReader } from "./ssh_wire.ts";

/** `SSHKRL\n\0` */
const MAGIC = 0x5353484b524c0a00n;
const FORMAT_VERSION = 1;

/** Types of sections. */
const CERTIFICATES = 1, EXPLICIT_KEY = 2, FINGERPRINT_SHA1 = 3, SIGNATURE = 4, FINGERPRINT_SHA256 = 5, EXTENSION = 255;
/** Types of sections about certificates. */
const SERIAL_LIST = 0x20, SERIAL_RANGE = 0x21, SERIAL_BITMAP = 0x22, KEY_ID = 0x23, CERTIFICATE_EXTENSION = 0x39;

/** Of authorities that OpenSSH knows and krun does not. */
const OTHER_TYPES: readonly string[] = ["ssh-dss"];

const LARGEST_SERIAL = 2n ** 64n - 1n;

/** A list that is being made. */
interface OpenList extends RevocationList {
  readonly keys: Set<string>;
  readonly sha1: Set<string>;
  readonly sha256: Set<string>;
  readonly certificates: RevokedCertificates[];
}

/**
 * Reads a list. Its version and date are not looked at.
 *
 * @throws {SshFormatError} with the reason, for whatever is not understood and not marked as one that need not be; for a signature too, as
 * OpenSSH does since 9.4
 */
export function parseKrl(bytes: Uint8Array): RevocationList {
  const reader = new SshReader(bytes);
  if (reader.uint64() !== MAGIC) throw new SshFormatError("it is no list of revoked keys");
  const version = reader.uint32();
  if (version !== FORMAT_VERSION) throw new SshFormatError(`its format is of version ${version}`);
  // Version and date of the list, flags, a reserved field and a comment.
  reader.bytes(3 * 8);
  reader.string();
  reader.string();
  const list: OpenList = { keys: new Set(), sha1: new Set(), sha256: new Set(), certificates: [] };
  while (!reader.isAtEnd) addSection(list, reader.uint8(), new SshReader(reader.string()));
  return list;
}

function addSection(list: OpenList, type: number, section: SshReader): void {
  switch (type) {
    case CERTIFICATES:
      return addCertificateSection(list, section);
    case EXPLICIT_KEY:
      // The type of a key need not be one that krun takes, but it must have one.
      return forEachString(section, (blob) => list.keys.add(keyBlob(blob)));
    case FINGERPRINT_SHA1:
      return forEachString(section, (hash) => list.sha1.add(ofLength(hash, 20).toHex()));
    case FINGERPRINT_SHA256:
      return forEachString(
        section,
        (hash) => list.sha256.add(`SHA256:${ofLength(hash, 32).toBase64({ omitPadding: true })}`),
      );
    case EXTENSION:
      return passOver(section);
    case SIGNATURE:
      throw new SshFormatError("it is signed, which OpenSSH does not take either");
    default:
      throw new SshFormatError(`its section ${type} is unknown`);
  }
}

function addCertificateSection(list: OpenList, section: SshReader): void {
  const ca = section.string();
  section.string(); // reserved
  const certificates = addCertificates(list.certificates, ca.length === 0 ? undefined : authorityBlob(ca));
  while (!section.isAtEnd) addRevoked(certificates, section.uint8(), new SshReader(section.string()));
}

function addRevoked({ ranges, bitmaps, keyIds }: RevokedCertificates, type: number, section: SshReader): void {
  switch (type) {
    case SERIAL_LIST:
      while (!section.isAtEnd) {
        const serial = section.uint64();
        ranges.push(serialRange(serial, serial));
      }
      return;
    case SERIAL_RANGE:
      ranges.push(serialRange(section.uint64(), section.uint64()));
      break;
    case SERIAL_BITMAP:
      bitmaps.push(serialBitmap(section));
      break;
    case KEY_ID:
      return forEachString(section, (keyId) => keyIds.add(textOfBytes(keyId)));
    case CERTIFICATE_EXTENSION:
      return passOver(section);
    default:
      throw new SshFormatError(`its section ${type} about certificates is unknown`);
  }
  if (!section.isAtEnd) throw new SshFormatError("bytes follow a section");
}

/** As OpenSSH: the number 0 stands for none, and cannot be revoked. */
function serialRange(first: bigint, last: bigint): RevokedCertificates["ranges"][number] {
  if (first === 0n || last < first) throw new SshFormatError(`${first} to ${last} is no range of serial numbers`);
  return { first, last };
}

function serialBitmap(section: SshReader): RevokedCertificates["bitmaps"][number] {
  const offset = section.uint64();
  const bits = section.magnitude().slice();
  if (offset + BigInt(bits.length * 8 - 1) - BigInt(Math.clz32(bits[0] ?? 0) - 24) > LARGEST_SERIAL) {
    throw new SshFormatError("its serial numbers go too far");
  }
  return { offset, bits };
}

/** An extension. What is critical must be understood, and none is. */
function passOver(section: SshReader): void {
  const name = textOfBytes(section.string());
  const isCritical = section.uint8() !== 0;
  section.string();
  if (!section.isAtEnd) throw new SshFormatError("bytes follow an extension");
  if (isCritical) throw new SshFormatError(`its critical extension ${JSON.stringify(name.slice(0, 64))} is unknown`);
}

function forEachString(section: SshReader, take: (value: Uint8Array) => void): void {
  while (!section.isAtEnd) take(section.string());
}

/** As OpenSSH: a key that cannot be read is nobody's, so that nothing of what is said about it would count. */
function authorityBlob(blob: Uint8Array): string {
  const type = new SshReader(blob).text();
  // The types of sshd whose certificates krun never takes may be named.
  if (!OTHER_TYPES.includes(type)) parsePublicKey(blob, { isOnlyNamed: true });
  return blob.toBase64();
}

function keyBlob(blob: Uint8Array): string {
  new SshReader(blob).text();
  return blob.toBase64();
}

function ofLength(hash: Uint8Array, length: number): Uint8Array {
  if (hash.length !== length) throw new SshFormatError(`a hash has ${hash.length} bytes in place of ${length}`);
  return hash;
}
