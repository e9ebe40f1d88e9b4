/**
 * What SFTP, version 3, is made of: the numbers of its packets, and attributes. In: bytes. Out: changes; and a file's state as bytes.
 * Rules: draft-ietf-secsh-filexfer-02; OpenSSH's PROTOCOL for the extensions.
 *
 * @module
 */
import { concatBytes, SshFormatError, type SshReader, sshUint32 } from "./ssh_wire.ts";
import type { FileChange, FileStat } from "./user_files.ts";

/** The version spoken. */
export const SFTP_VERSION = 3;

/** Types of packets (section 3). */
export const PACKET = {
  INIT: 1,
  VERSION: 2,
  OPEN: 3,
  CLOSE: 4,
  READ: 5,
  WRITE: 6,
  LSTAT: 7,
  FSTAT: 8,
  SETSTAT: 9,
  FSETSTAT: 10,
  OPENDIR: 11,
  READDIR: 12,
  REMOVE: 13,
  MKDIR: 14,
  RMDIR: 15,
  REALPATH: 16,
  STAT: 17,
  RENAME: 18,
  READLINK: 19,
  SYMLINK: 20,
  STATUS: 101,
  HANDLE: 102,
  DATA: 103,
  NAME: 104,
  ATTRS: 105,
  EXTENDED: 200,
  EXTENDED_REPLY: 201,
} as const;

/** Which attributes follow (section 5). */
const SIZE = 1, OWNER = 2, PERMISSIONS = 4, TIMES = 8, EXTENDED = 0x8000_0000;

/** Reads ATTRS. Of the permissions only those bits that chmod(2) takes; what extends them is passed over. @throws {SshFormatError} */
export function readAttributes(reader: SshReader): FileChange {
  const flags = reader.uint32();
  const change = {
    ...(flags & SIZE && { sizeBytes: readOffset(reader) }),
    ...(flags & OWNER && { owner: { uid: reader.uint32(), gid: reader.uint32() } }),
    ...(flags & PERMISSIONS && { mode: reader.uint32() & 0o7777 }),
    ...(flags & TIMES && { times: { accessedSeconds: reader.uint32(), modifiedSeconds: reader.uint32() } }),
  };
  // Bits that version 3 does not know would mean fields of unknown length.
  if ((flags & ~(SIZE | OWNER | PERMISSIONS | TIMES | EXTENDED)) !== 0) throw new SshFormatError("unknown attributes");
  if ((flags & EXTENDED) === 0) return change;
  for (let left = reader.uint32(); left > 0; left--) {
    reader.string();
    reader.string();
  }
  return change;
}

/** Reads a size or an offset, bytes. @throws {SshFormatError} where no file of Linux reaches */
export function readOffset(reader: SshReader): number {
  const value = reader.uint64();
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new SshFormatError(`offset ${value} is beyond every file`);
  return Number(value);
}

/** ATTRS of a file. Times outside of 1970 to 2106 become the nearest that the format has. */
export function attributesOf(stat: FileStat): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(32);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, SIZE | OWNER | PERMISSIONS | TIMES);
  view.setBigUint64(4, BigInt(stat.sizeBytes));
  const rest = [stat.uid, stat.gid, stat.mode, stat.accessedSeconds, stat.modifiedSeconds];
  rest.forEach((value, index) => view.setUint32(12 + 4 * index, Math.min(Math.max(value, 0), 0xffff_ffff)));
  return bytes;
}

/** A packet of a type, with its length before it. */
export function packetOf(type: number, ...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const length = parts.reduce((sum, part) => sum + part.length, 1);
  return concatBytes(sshUint32(length), Uint8Array.of(type), ...parts);
}
