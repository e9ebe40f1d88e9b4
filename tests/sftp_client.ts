/**
 * The client's side of SFTP, byte by byte, for what OpenSSH's client never sends. In: requests. Out: packets, and what an answer says.
 *
 * @module
 */
import { SftpFraming } from "../src/core/sftp_framing.ts";
import { PACKET, packetOf } from "../src/core/sftp_packet.ts";
import { concatBytes, SshReader, sshString, sshUint32 } from "../src/core/ssh_wire.ts";

/** INIT, version 3. */
export const INIT = packetOf(PACKET.INIT, sshUint32(3));

/** A request. */
export function request(type: keyof typeof PACKET, id: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return packetOf(PACKET[type], sshUint32(id), ...parts);
}

/** An extended request. */
export function extended(name: string, id: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return request("EXTENDED", id, sshString(name), ...parts);
}

/** A `uint64`. */
export function uint64(value: number | bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** Flags of OPEN. */
export const READ = 1, WRITE = 2, CREATE = 8, TRUNCATE = 0x10;

/** OPEN, without attributes. */
export function openRequest(id: number, path: string, flags: number): Uint8Array {
  return request("OPEN", id, sshString(path), sshUint32(flags), sshUint32(0));
}

/** What names a handle, or a part of a file behind it. */
export function handle(number: number, offset?: number): Uint8Array {
  const name = sshString(sshUint32(number));
  return offset === undefined ? name : concatBytes(name, uint64(offset));
}

/** An answer. */
export interface Answer {
  readonly type: number;
  readonly id: number;
  /** What comes after both. */
  readonly rest: Uint8Array;
}

/** The answers in bytes that a server sent. */
export function answersOf(bytes: Uint8Array): Answer[] {
  const framing = new SftpFraming();
  framing.push(bytes);
  const answers: Answer[] = [];
  for (let packet; (packet = framing.next()) !== undefined;) {
    const reader = new SshReader(packet);
    answers.push({ type: reader.uint8(), id: reader.uint32(), rest: reader.rest() });
  }
  return answers;
}

/** An answer in short: `status 0`, `handle 3`, `data hello`, `name a,b`, or its type. */
export function toldOf({ type, rest }: Answer): string {
  const reader = new SshReader(rest);
  if (type === PACKET.STATUS) return `status ${reader.uint32()}`;
  if (type === PACKET.HANDLE) return `handle ${new SshReader(reader.string()).uint32()}`;
  if (type === PACKET.DATA) return `data ${new TextDecoder().decode(reader.string())}`;
  if (type !== PACKET.NAME) return `type ${type}`;
  const count = reader.uint32();
  const names: string[] = [];
  for (let index = 0; index < count; index++) {
    names.push(new TextDecoder().decode(reader.string()));
    reader.string();
    if (reader.uint32() !== 0) reader.bytes(28);
  }
  return `name ${names.join()}`;
}
