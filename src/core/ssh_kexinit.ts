/**
 * The packet with which an exchange of keys begins: which algorithms somebody has. In: the client's first one as it comes after its version,
 * or payloads. Out: what krun looks at of them. Rules: RFC 4253, sections 6 and 7.
 *
 * @module
 */
import { SshFormatError, SshReader } from "./ssh_wire.ts";

/** SSH_MSG_KEXINIT, and the longest packet that everybody must take (RFC 4253, 6.1). */
const KEXINIT = 20, LONGEST_PACKET = 35_000;

/** The ciphers that a client has, in its order. */
export interface ClientCiphers {
  /** For what it sends. */
  readonly toServer: readonly string[];
  /** For what it gets. */
  readonly fromServer: readonly string[];
}

/** Whether the packet is there as a whole. @throws {SshFormatError} when it can be none */
export function hasFirstPacket(bytes: Uint8Array): boolean {
  if (bytes.length < 4) return false;
  const length = new SshReader(bytes).uint32();
  if (length > LONGEST_PACKET) throw new SshFormatError("the client's first packet is too long");
  return bytes.length >= 4 + length;
}

/** The ciphers that a client has, of each direction. @throws {SshFormatError} when it is no such packet */
export function clientCiphers(packet: Uint8Array): ClientCiphers {
  const reader = new SshReader(packet);
  reader.uint32();
  reader.uint8();
  const [_kex, _hostKey, toServer, fromServer] = firstLists(reader, 4);
  return { toServer: toServer!, fromServer: fromServer! };
}

/** What both sides begin an exchange with, as payloads. */
export interface KexInits {
  readonly client: Uint8Array;
  readonly server: Uint8Array;
}

/**
 * Whether a client that goes on at once, with a packet of the exchange that it would like best, has guessed right: method and kind of host
 * key are the first ones of both sides. @throws {SshFormatError} when one is no such packet
 */
export function guessesRight({ client, server }: KexInits): boolean {
  const guesses = [client, server].map((payload) => firstLists(new SshReader(payload), 2).map(([first]) => first));
  return guesses[0]!.every((name, at) => name === guesses[1]![at]);
}

/** Of the lists in RFC 4253, 7.1: exchange, host key, ciphers to the server and from it, and so on. */
function firstLists(reader: SshReader, count: number): string[][] {
  const COOKIE_BYTES = 16;
  if (reader.uint8() !== KEXINIT) throw new SshFormatError("the client does not begin with its algorithms");
  reader.bytes(COOKIE_BYTES);
  return Array.from({ length: count }, () => reader.text().split(","));
}
