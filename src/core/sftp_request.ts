/**
 * What a client of SFTP asks for. In: a packet without its length. Out: one request. Rules: draft-ietf-secsh-filexfer-02, section 6;
 * OpenSSH's PROTOCOL, section 4 (and its order of SYMLINK's arguments, which all clients follow).
 *
 * @module
 */
import { textOfBytes } from "./byte_text.ts";
import { PACKET, readAttributes, readOffset } from "./sftp_packet.ts";
import { SshFormatError, SshReader } from "./ssh_wire.ts";
import type { FileChange, FileOpening } from "./user_files.ts";

interface OfPath {
  /** A text of `core/byte_text.ts`. */
  readonly path: string;
}
interface OfPair extends OfPath {
  readonly to: string;
}
interface OfHandle {
  readonly handle: number;
}
interface Changing {
  readonly change: FileChange;
}
interface Carrying extends OfHandle {
  readonly offset: number;
}

/** Kind of a request → what it brings along. */
interface RequestFields {
  open: OfPath & { readonly opening: FileOpening };
  close: OfHandle;
  read: Carrying & { readonly lengthBytes: number };
  /** `bytes` is a view of the packet. */
  write: Carrying & { readonly bytes: Uint8Array };
  stat: OfPath;
  linkStat: OfPath;
  handleStat: OfHandle;
  change: OfPath & Changing;
  changeLink: OfPath & Changing;
  changeHandle: OfHandle & Changing;
  openFolder: OfPath;
  list: OfHandle;
  remove: OfPath;
  makeFolder: OfPath & { readonly mode: number };
  removeFolder: OfPath;
  realPath: OfPath;
  rename: OfPair & { readonly replace: boolean };
  readLink: OfPath;
  /** `path` is the link's own, `to` what it says. */
  makeLink: OfPair;
  /** `path` is what is there, `to` its new name. */
  makeHardLink: OfPair;
  fileSystem: OfPath;
  handleFileSystem: OfHandle;
  sync: OfHandle;
  limits: object;
  expandPath: OfPath;
  home: { readonly user: string };
  names: { readonly uids: readonly number[]; readonly gids: readonly number[] };
  /** `lengthBytes` 0: to the end. */
  copy: Carrying & { readonly lengthBytes: number; readonly toHandle: number; readonly toOffset: number };
  /** A type or an extension that this server has not. */
  unknown: object;
  /** It is not what its type says. */
  malformed: { readonly why: string };
}

/** The kinds of requests. */
export type SftpRequestKind = keyof RequestFields;

/** A request of a kind, with the number that its answer repeats. */
export type SftpRequest<Kind extends SftpRequestKind = SftpRequestKind> = {
  [K in Kind]: { readonly kind: K; readonly id: number } & RequestFields[K];
}[Kind];

/** A request before it has its number. */
type Body = { [K in SftpRequestKind]: { readonly kind: K } & RequestFields[K] }[SftpRequestKind];

type Parser = (reader: SshReader) => Body;

const path = (reader: SshReader) => textOfBytes(reader.string());
const ofPath = <Kind extends SftpRequestKind>(kind: Kind) => (reader: SshReader) => ({ kind, path: path(reader) });
const ofHandle = <Kind extends SftpRequestKind>(kind: Kind) => (reader: SshReader) => ({
  kind,
  handle: handleOf(reader),
});

const PARSERS: ReadonlyMap<number, Parser> = new Map<number, Parser>([
  [PACKET.OPEN, (reader) => openRequest(reader)],
  [PACKET.CLOSE, ofHandle("close")],
  [PACKET.READ, (reader) => ({ kind: "read", ...carrying(reader), lengthBytes: reader.uint32() })],
  [PACKET.WRITE, (reader) => ({ kind: "write", ...carrying(reader), bytes: reader.string() })],
  [PACKET.LSTAT, ofPath("linkStat")],
  [PACKET.FSTAT, ofHandle("handleStat")],
  [PACKET.SETSTAT, (reader) => ({ kind: "change", path: path(reader), change: readAttributes(reader) })],
  [PACKET.FSETSTAT, (reader) => ({ kind: "changeHandle", handle: handleOf(reader), change: readAttributes(reader) })],
  [PACKET.OPENDIR, ofPath("openFolder")],
  [PACKET.READDIR, ofHandle("list")],
  [PACKET.REMOVE, ofPath("remove")],
  [PACKET.MKDIR, (reader) => ({ kind: "makeFolder", path: path(reader), mode: readAttributes(reader).mode ?? 0o777 })],
  [PACKET.RMDIR, ofPath("removeFolder")],
  [PACKET.REALPATH, ofPath("realPath")],
  [PACKET.STAT, ofPath("stat")],
  [PACKET.RENAME, (reader) => ({ kind: "rename", path: path(reader), to: path(reader), replace: false })],
  [PACKET.READLINK, ofPath("readLink")],
  [PACKET.SYMLINK, (reader) => {
    const to = path(reader);
    return { kind: "makeLink", path: path(reader), to };
  }],
  [PACKET.EXTENDED, (reader) => EXTENDED_PARSERS.get(textOfBytes(reader.string()))?.(reader) ?? { kind: "unknown" }],
]);

const EXTENDED_PARSERS: ReadonlyMap<string, Parser> = new Map<string, Parser>([
  [
    "posix-rename@openssh.com",
    (reader) => ({ kind: "rename", path: path(reader), to: path(reader), replace: true }),
  ],
  ["statvfs@openssh.com", ofPath("fileSystem")],
  ["fstatvfs@openssh.com", ofHandle("handleFileSystem")],
  ["hardlink@openssh.com", (reader) => ({ kind: "makeHardLink", path: path(reader), to: path(reader) })],
  ["fsync@openssh.com", ofHandle("sync")],
  [
    "lsetstat@openssh.com",
    (reader) => ({ kind: "changeLink", path: path(reader), change: readAttributes(reader) }),
  ],
  ["limits@openssh.com", () => ({ kind: "limits" })],
  ["expand-path@openssh.com", ofPath("expandPath")],
  ["home-directory", (reader) => ({ kind: "home", user: path(reader) })],
  [
    "users-groups-by-id@openssh.com",
    (reader) => ({ kind: "names", uids: numbersOf(reader.string()), gids: numbersOf(reader.string()) }),
  ],
  ["copy-data", (reader) => copyRequest(reader)],
]);

/** Reads INIT: the client's version; extensions of its own are passed over. @throws {SshFormatError} for any other packet */
export function parseInit(packet: Uint8Array): number {
  const reader = new SshReader(packet);
  if (reader.uint8() !== PACKET.INIT) throw new SshFormatError("it does not begin with INIT");
  return reader.uint32();
}

/**
 * Reads a request. Bytes after it are passed over, as OpenSSH does.
 *
 * @throws {SshFormatError} when it has no number that an answer could name
 */
export function parseRequest(packet: Uint8Array): SftpRequest {
  const reader = new SshReader(packet);
  const type = reader.uint8();
  if (type === PACKET.INIT) throw new SshFormatError("INIT comes twice");
  const id = reader.uint32();
  return { ...bodyOf(PARSERS.get(type), reader), id };
}

function bodyOf(parser: Parser | undefined, reader: SshReader): Body {
  try {
    return parser?.(reader) ?? { kind: "unknown" };
  } catch (error) {
    if (!(error instanceof SshFormatError)) throw error;
    return { kind: "malformed", why: error.message };
  }
}

/** SSH_FXF_* (section 6.3). */
const READ = 1, WRITE = 2, APPEND = 4, CREATE = 8, TRUNCATE = 0x10, EXCLUSIVE = 0x20;

function openRequest(reader: SshReader): Body {
  const name = path(reader);
  const flags = reader.uint32();
  const has = (flag: number) => (flags & flag) !== 0;
  const opening = {
    ...{ read: has(READ), write: has(WRITE), append: has(APPEND) },
    ...{ create: has(CREATE), truncate: has(TRUNCATE), exclusive: has(EXCLUSIVE) },
    mode: readAttributes(reader).mode ?? 0o666,
  };
  return { kind: "open", path: name, opening };
}

function copyRequest(reader: SshReader): Body {
  const from = { ...carrying(reader), lengthBytes: readOffset(reader) };
  return { kind: "copy", ...from, toHandle: handleOf(reader), toOffset: readOffset(reader) };
}

function carrying(reader: SshReader): Carrying {
  return { handle: handleOf(reader), offset: readOffset(reader) };
}

/** This server's handles are numbers of four bytes; -1, which is none, for others. */
function handleOf(reader: SshReader): number {
  const handle = reader.string();
  return handle.length === 4 ? new SshReader(handle).uint32() : -1;
}

function numbersOf(bytes: Uint8Array): number[] {
  const reader = new SshReader(bytes);
  const numbers: number[] = [];
  while (!reader.isAtEnd) numbers.push(reader.uint32());
  return numbers;
}
