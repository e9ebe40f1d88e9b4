/**
 * What a server of SFTP answers. In: a request's number and what there is to say. Out: whole packets, with their length. Rules:
 * draft-ietf-secsh-filexfer-02, section 7; OpenSSH's PROTOCOL for what extensions answer.
 *
 * @module
 */
import { bytesOfText } from "./byte_text.ts";
import { MAX_PACKET_BYTES } from "./sftp_framing.ts";
import { attributesOf, PACKET, packetOf, SFTP_VERSION } from "./sftp_packet.ts";
import type { SftpStatus } from "./sftp_status.ts";
import { concatBytes, sshString, sshUint32 } from "./ssh_wire.ts";
import type { FileStat, FileSystemStat } from "./user_files.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Extensions that are offered, and their versions. */
const EXTENSIONS: Readonly<Record<string, string>> = {
  "posix-rename@openssh.com": "1",
  "statvfs@openssh.com": "2",
  "fstatvfs@openssh.com": "2",
  "hardlink@openssh.com": "1",
  "fsync@openssh.com": "1",
  "lsetstat@openssh.com": "1",
  "limits@openssh.com": "1",
  "expand-path@openssh.com": "1",
  "copy-data": "1",
  "home-directory": "1",
  "users-groups-by-id@openssh.com": "1",
};

/** The most bytes that one READ or WRITE carries: what is left of a packet beside the rest of it, as OpenSSH counts. */
export const MAX_DATA_BYTES = MAX_PACKET_BYTES - 1024;

/** VERSION: the lower of both versions, and the extensions. */
export function versionAnswer(clientVersion: number): Bytes {
  const pairs = Object.entries(EXTENSIONS).flat().map((text) => sshString(text));
  return packetOf(PACKET.VERSION, sshUint32(Math.min(SFTP_VERSION, clientVersion)), ...pairs);
}

/** STATUS, with its words in English. */
export function statusAnswer(id: number, { code, words }: SftpStatus): Bytes {
  return packetOf(PACKET.STATUS, sshUint32(id), sshUint32(code), sshString(words), sshString("en"));
}

/** HANDLE. */
export function handleAnswer(id: number, handle: number): Bytes {
  return packetOf(PACKET.HANDLE, sshUint32(id), sshString(sshUint32(handle)));
}

/** ATTRS. */
export function attributesAnswer(id: number, stat: FileStat): Bytes {
  return packetOf(PACKET.ATTRS, sshUint32(id), attributesOf(stat));
}

/** One of the names of {@linkcode nameAnswer}. */
export interface NamedFile {
  /** A text of `core/byte_text.ts`. */
  readonly name: string;
  /** As `ls -l` shows it. @default {its name} */
  readonly line?: string;
  /** @default {none of its attributes} */
  readonly stat?: FileStat;
}

/** A name as it stands in NAME. */
export function nameEntry({ name, line = name, stat }: NamedFile): Bytes {
  return concatBytes(
    sshString(bytesOfText(name)),
    sshString(bytesOfText(line)),
    stat ? attributesOf(stat) : sshUint32(0),
  );
}

/** NAME, of what {@linkcode nameEntry} gives. */
export function nameAnswer(id: number, entries: readonly Uint8Array[]): Bytes {
  return packetOf(PACKET.NAME, sshUint32(id), sshUint32(entries.length), ...entries);
}

/** What statvfs answers. */
export function fileSystemAnswer(id: number, stat: FileSystemStat): Bytes {
  const ST_RDONLY = 1, ST_NOSUID = 2;
  const { blocks, freeBlocks, availableBlocks, files, freeFiles } = stat;
  const fields = [
    ...[stat.blockSize, stat.fragmentSize, blocks, freeBlocks, availableBlocks, files, freeFiles, freeFiles],
    ...[stat.fileSystemId, stat.flags & (ST_RDONLY | ST_NOSUID), stat.longestName],
  ];
  return packetOf(PACKET.EXTENDED_REPLY, sshUint32(id), ...fields.map(uint64));
}

/** What limits answers. */
export function limitsAnswer(id: number, { handles }: { readonly handles: number }): Bytes {
  const fields = [MAX_PACKET_BYTES, MAX_DATA_BYTES, MAX_DATA_BYTES, handles];
  return packetOf(PACKET.EXTENDED_REPLY, sshUint32(id), ...fields.map(uint64));
}

/** What users-groups-by-id answers; an empty name for who has none. */
export function namesAnswer(id: number, names: { users: readonly string[]; groups: readonly string[] }): Bytes {
  const list = (texts: readonly string[]) =>
    sshString(concatBytes(...texts.map((text) => sshString(bytesOfText(text)))));
  return packetOf(PACKET.EXTENDED_REPLY, sshUint32(id), list(names.users), list(names.groups));
}

/** Bytes of DATA before its content: length, type, number of the request, length of the content. */
export const DATA_HEAD_BYTES = 13;

/** DATA whose content stands in `packet` already, behind room for what comes before it; no copy. */
export function dataAnswer(id: number, packet: Bytes, { contentBytes }: { readonly contentBytes: number }): Bytes {
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setUint32(0, DATA_HEAD_BYTES - 4 + contentBytes);
  view.setUint8(4, PACKET.DATA);
  view.setUint32(5, id);
  view.setUint32(9, contentBytes);
  return packet.subarray(0, DATA_HEAD_BYTES + contentBytes);
}

function uint64(value: number | bigint): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}
