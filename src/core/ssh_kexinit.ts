/**
 * The first packet of a client: which algorithms it has. In: what comes after its version. Out: those that krun looks at. Rules: RFC 4253,
 * sections 6 and 7.1.
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
  const COOKIE_BYTES = 16;
  const reader = new SshReader(packet);
  reader.uint32();
  reader.uint8();
  if (reader.uint8() !== KEXINIT) throw new SshFormatError("the client does not begin with its algorithms");
  reader.bytes(COOKIE_BYTES);
  const [_kex, _hostKey, toServer, fromServer] = Array.from({ length: 4 }, () => reader.text().split(","));
  return { toServer: toServer!, fromServer: fromServer! };
}
