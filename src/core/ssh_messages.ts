/**
 * The messages of SSH that krun reads and writes itself: channels and forwards; those of logins are in `core/ssh_userauth.ts`. In: payloads
 * of packets, as a stranger sent them. Out: what they ask for; and the payloads of answers. Rules: RFC 4254, OpenSSH's PROTOCOL.
 *
 * Commands and paths are texts of `core/byte_text.ts`: no byte of them is lost.
 *
 * @module
 */
import { textOfBytes } from "./byte_text.ts";
import type { TerminalSize, TerminalSpec } from "./session_process.ts";
import { concatBytes, SshFormatError, SshReader, sshString, sshUint32 } from "./ssh_wire.ts";

/** Numbers of messages. */
export const SSH_MESSAGE = {
  unimplemented: 3,
  extInfo: 7,
  userauthRequest: 50,
  userauthFailure: 51,
  userauthSuccess: 52,
  userauthPkOk: 60,
  userauthInfoRequest: 60,
  userauthInfoResponse: 61,
  globalRequest: 80,
  requestSuccess: 81,
  requestFailure: 82,
  channelOpen: 90,
  channelOpenConfirmation: 91,
  channelOpenFailure: 92,
  channelWindowAdjust: 93,
  channelData: 94,
  channelExtendedData: 95,
  channelEof: 96,
  channelClose: 97,
  channelRequest: 98,
  channelSuccess: 99,
  channelFailure: 100,
} as const;

const KNOWN: ReadonlySet<number> = new Set(Object.values(SSH_MESSAGE));

/** Whether a number is that of a message which krun knows, whoever may send it. */
export function isSshMessage(number: number): boolean {
  return KNOWN.has(number);
}

/** Who takes a message outside an exchange of keys: the transport, a layer above it, or nobody. */
export type SshMessageLayer = "transport" | "above" | "unknown";

/** Of the transport, outside an exchange of keys, and SSH_MSG_KEXINIT, which begins one. */
const TRANSPORT: ReadonlySet<number | undefined> = new Set([1, 2, 3, 4, 5, 6, 7, 20]);

/**
 * The layer that a message is for, which comes while no keys are exchanged; a payload without a byte is the transport's.
 *
 * @throws {SshFormatError} for one that an exchange of keys alone has: 21 to 49 (RFC 4250, 4.1.1)
 */
export function layerOfMessage(number: number | undefined): SshMessageLayer {
  if (number === undefined || TRANSPORT.has(number)) return "transport";
  if (number >= SSH_MESSAGE.userauthRequest) return "above";
  if (number < 20) return "unknown";
  throw new SshFormatError(`message ${number} belongs to an exchange of keys, and there is none`);
}

/** Why a channel is not opened (RFC 4254, 5.1). */
export const CHANNEL_REFUSAL = { prohibited: 1, connectFailed: 2, unknownType: 3, shortage: 4 } as const;

/** What a channel is to lead to. */
export type ChannelTarget =
  | { readonly kind: "session" }
  | {
    readonly kind: "direct-tcpip";
    readonly host: string;
    readonly port: number;
    readonly originHost: string;
    readonly originPort: number;
  }
  | { readonly kind: "direct-streamlocal"; readonly path: string }
  | { readonly kind: "unknown"; readonly type: string };

/** A channel that the client wants to open. */
export interface ChannelOpen {
  /** The client's number of it. */
  readonly sender: number;
  readonly window: number;
  readonly maxPacket: number;
  readonly target: ChannelTarget;
}

/** Reads SSH_MSG_CHANNEL_OPEN. @throws {SshFormatError} */
export function parseChannelOpen(payload: Uint8Array): ChannelOpen {
  const reader = new SshReader(payload);
  reader.uint8();
  const type = reader.text();
  const numbers = { sender: reader.uint32(), window: reader.uint32(), maxPacket: reader.uint32() };
  return { ...numbers, target: channelTarget(type, reader) };
}

function channelTarget(type: string, reader: SshReader): ChannelTarget {
  if (type === "session") return { kind: type };
  if (type === "direct-tcpip") {
    const to = { host: reader.text(), port: reader.uint32() };
    return { kind: type, ...to, originHost: reader.text(), originPort: reader.uint32() };
  }
  if (type !== "direct-streamlocal@openssh.com") return { kind: "unknown", type };
  return { kind: "direct-streamlocal", path: textOfBytes(reader.string()) };
}

/** What is asked of a session. */
export type SessionRequest =
  | { readonly kind: "env"; readonly name: string; readonly value: string }
  | { readonly kind: "pty-req"; readonly term: string; readonly terminal: TerminalSpec }
  | { readonly kind: "shell" }
  | { readonly kind: "exec"; readonly command: string }
  | { readonly kind: "subsystem"; readonly name: string }
  /** Without `SIG`. */
  | { readonly kind: "signal"; readonly name: string }
  | { readonly kind: "window-change"; readonly size: TerminalSize }
  /** Nobody reads the program's output any more (OpenSSH's PROTOCOL, 2.1). */
  | { readonly kind: "eow" }
  | { readonly kind: "unknown"; readonly type: string };

/** A request about a channel. */
export interface ChannelRequest {
  /** krun's number of it. */
  readonly recipient: number;
  readonly wantsReply: boolean;
  readonly request: SessionRequest;
}

/** Reads SSH_MSG_CHANNEL_REQUEST. @throws {SshFormatError} */
export function parseChannelRequest(payload: Uint8Array): ChannelRequest {
  const reader = new SshReader(payload);
  reader.uint8();
  const recipient = reader.uint32();
  const type = reader.text();
  const wantsReply = reader.uint8() !== 0;
  return { recipient, wantsReply, request: sessionRequest(type, reader) };
}

function sessionRequest(type: string, reader: SshReader): SessionRequest {
  switch (type) {
    case "env":
      return { kind: type, name: textOfBytes(reader.string()), value: textOfBytes(reader.string()) };
    case "pty-req":
      return { kind: type, term: textOfBytes(reader.string()), terminal: terminalSpec(reader) };
    case "shell":
      return { kind: type };
    case "exec":
      return { kind: type, command: textOfBytes(reader.string()) };
    case "subsystem":
    case "signal":
      return { kind: type, name: textOfBytes(reader.string()) };
    case "window-change":
      return { kind: type, size: terminalSize(reader) };
    case "eow@openssh.com":
      return { kind: "eow" };
    default:
      return { kind: "unknown", type };
  }
}

function terminalSize(reader: SshReader): TerminalSize {
  const [columns, rows, widthPixels, heightPixels] = [
    reader.uint32(),
    reader.uint32(),
    reader.uint32(),
    reader.uint32(),
  ];
  return { rows, columns, widthPixels, heightPixels };
}

/** RFC 4254, section 8: opcodes 160 to 255 have no argument that could be passed over, and end the list. */
function terminalSpec(reader: SshReader): TerminalSpec {
  const END = 0, FIRST_UNDEFINED = 160;
  const size = terminalSize(reader);
  const encoded = new SshReader(reader.string());
  const modes = new Map<number, number>();
  while (!encoded.isAtEnd) {
    const opcode = encoded.uint8();
    if (opcode === END || opcode >= FIRST_UNDEFINED) break;
    modes.set(opcode, encoded.uint32());
  }
  return { ...size, modes };
}

/** What is asked of the whole connection. */
export type ConnectionRequest =
  | { readonly kind: "tcpip-forward" | "cancel-tcpip-forward"; readonly address: string; readonly port: number }
  | { readonly kind: "streamlocal-forward" | "cancel-streamlocal-forward"; readonly path: string }
  | { readonly kind: "no-more-sessions" }
  | { readonly kind: "unknown"; readonly name: string };

/** A request about a connection. */
export interface GlobalRequest {
  readonly wantsReply: boolean;
  readonly request: ConnectionRequest;
}

/** Reads SSH_MSG_GLOBAL_REQUEST. @throws {SshFormatError} */
export function parseGlobalRequest(payload: Uint8Array): GlobalRequest {
  const reader = new SshReader(payload);
  reader.uint8();
  const name = reader.text();
  const wantsReply = reader.uint8() !== 0;
  return { wantsReply, request: connectionRequest(name, reader) };
}

function connectionRequest(name: string, reader: SshReader): ConnectionRequest {
  switch (name) {
    case "tcpip-forward":
    case "cancel-tcpip-forward":
      return { kind: name, address: reader.text(), port: reader.uint32() };
    case "streamlocal-forward@openssh.com":
      return { kind: "streamlocal-forward", path: textOfBytes(reader.string()) };
    case "cancel-streamlocal-forward@openssh.com":
      return { kind: "cancel-streamlocal-forward", path: textOfBytes(reader.string()) };
    case "no-more-sessions@openssh.com":
      return { kind: "no-more-sessions" };
    default:
      return { kind: "unknown", name };
  }
}

/** A message that is only numbers after its own. */
export function sshMessage(type: number, ...numbers: readonly number[]): Uint8Array<ArrayBuffer> {
  return concatBytes(Uint8Array.of(type), ...numbers.map(sshUint32));
}

/** SSH_MSG_EXT_INFO: of which algorithms a login's signature may be (RFC 8308, section 3.1). */
export function extInfo(signatures: readonly string[]): Uint8Array<ArrayBuffer> {
  const head = sshMessage(SSH_MESSAGE.extInfo, 1);
  return concatBytes(head, sshString("server-sig-algs"), sshString(signatures.join()));
}

/** SSH_MSG_CHANNEL_OPEN_FAILURE. */
export function channelOpenFailure(recipient: number, reason: number, words: string): Uint8Array<ArrayBuffer> {
  const head = sshMessage(SSH_MESSAGE.channelOpenFailure, recipient, reason);
  return concatBytes(head, sshString(words), sshString(""));
}

/** SSH_MSG_CHANNEL_OPEN of a forward, from krun to the client. */
export function forwardedChannelOpen(
  { sender, window, maxPacket }: Pick<ChannelOpen, "sender" | "window" | "maxPacket">,
  forwarded:
    | {
      readonly kind: "tcpip";
      readonly address: string;
      readonly port: number;
      readonly originHost: string;
      readonly originPort: number;
    }
    | { readonly kind: "streamlocal"; readonly path: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const isTcp = forwarded.kind === "tcpip";
  const type = isTcp ? "forwarded-tcpip" : "forwarded-streamlocal@openssh.com";
  const rest = isTcp
    ? [
      sshString(forwarded.address),
      sshUint32(forwarded.port),
      sshString(forwarded.originHost),
      sshUint32(forwarded.originPort),
    ]
    : [sshString(forwarded.path), sshString("")];
  const numbers = [sender, window, maxPacket].map(sshUint32);
  return concatBytes(Uint8Array.of(SSH_MESSAGE.channelOpen), sshString(type), ...numbers, ...rest);
}

/** SSH_MSG_GLOBAL_REQUEST that asks whether the other side is still there. */
export function keepAliveRequest(): Uint8Array<ArrayBuffer> {
  const wantsReply = Uint8Array.of(1);
  return concatBytes(Uint8Array.of(SSH_MESSAGE.globalRequest), sshString("keepalive@openssh.com"), wantsReply);
}

/** SSH_MSG_CHANNEL_REQUEST that tells how a program ended; `signal` without `SIG`. */
export function exitMessage(
  recipient: number,
  end: { readonly status: number } | { readonly signal: string },
): Uint8Array<ArrayBuffer> {
  const head = sshMessage(SSH_MESSAGE.channelRequest, recipient);
  const noReply = Uint8Array.of(0);
  if ("status" in end) return concatBytes(head, sshString("exit-status"), noReply, sshUint32(end.status));
  const noCore = Uint8Array.of(0);
  return concatBytes(
    head,
    sshString("exit-signal"),
    noReply,
    sshString(end.signal),
    noCore,
    sshString(""),
    sshString(""),
  );
}
