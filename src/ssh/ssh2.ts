/**
 * The part of the package ssh2 that is used, with its types: SSH's transport layer and its keys. It is loaded when a server opens.
 *
 * @module
 */
import type { Buffer } from "node:buffer";

/** A private key as ssh2 has it. */
export interface Ssh2Key {
  /** As `ssh-ed25519`. */
  readonly type: string;
  getPublicSSH(): Uint8Array;
  getPrivatePEM(): string;
  isPrivateKey(): boolean;
  /** Returns the error where it does not sign. */
  sign(data: Uint8Array, hash?: string): Uint8Array | Error;
}

/** A cipher of node's that is at work. */
export interface Ssh2Cipher {
  final(): unknown;
}

/** What decrypts a client's packets under one key. */
export interface Ssh2Decipher {
  /** The number of the next packet; ssh2 sets it where keys are changed. */
  inSeqno: number;
  /** Set by ssh2 while keys are exchanged. Returns `false` where another decipher takes what follows, and a number where none does. */
  _onPayload(payload: Uint8Array): unknown;
  /** Takes the bytes from `from` to `to`. Returns where another one goes on; `undefined`: it has taken all. */
  decrypt(bytes: Buffer, from: number, to: number): number | undefined;
  free(): void;
  /** node's; not of GCM, which has one for each packet. */
  readonly _decipherInstance?: Ssh2Cipher;
}

/** ssh2's for AES-GCM. */
export interface Ssh2GcmDecipher extends Ssh2Decipher {
  readonly _decipherKey: Uint8Array<ArrayBuffer>;
  readonly _decipherIV: Uint8Array<ArrayBuffer>;
}

/** One connection's transport. */
export interface Ssh2Protocol {
  /** Sends the version. */
  start?(): void;
  /** Throws where the bytes break the protocol. */
  parse(bytes: Buffer, from: number, to: number): void;
  cleanup(): void;
  disconnect(reason: number): void;
  serviceAccept(service: string): void;
  rekey(): void;
  /** Called with the payload of each packet once keys are in force; ssh2's own handler, or another in its place. */
  _onPayload(payload: Uint8Array): unknown;
  readonly _cipher: {
    allocPacket(payloadLength: number): Buffer;
    encrypt(packet: Buffer): void;
    /** node's; not of GCM, which has one for each packet. */
    readonly _cipherInstance?: Ssh2Cipher;
  };
  /** Set once the client has said its version; ssh2's own, or another in its place. */
  _decipher: Ssh2Decipher | undefined;
  readonly _kex: {
    readonly sessionID: Uint8Array;
    /** The client takes SSH_MSG_EXT_INFO, and ssh2 sends its own. */
    remoteExtInfoEnabled: boolean;
    /** Payloads of the client and of the server that have begun the exchange; unset when it is over. */
    readonly _remoteKexinit?: Uint8Array | undefined;
    readonly _kexinit?: Uint8Array | undefined;
  } | undefined;
  /** Called at the end of each key exchange. */
  _onHandshakeComplete(negotiated: unknown): void;
  /** What is offered to the client when keys are exchanged. */
  _offer: object;
  /** Set while keys are exchanged. */
  readonly _kexinit: unknown;
}

/** Algorithms of one direction. */
interface Ssh2Direction {
  readonly cipher: readonly string[];
  readonly mac: readonly string[];
  readonly compress: readonly string[];
  readonly lang: readonly string[];
}

/** What {@linkcode Ssh2.Protocol} is given. */
export interface Ssh2ProtocolConfig {
  readonly server: true;
  readonly hostKeys: Readonly<Record<string, Ssh2Key>>;
  /** After `SSH-2.0-`. */
  readonly ident: string;
  readonly offer: object;
  onWrite(bytes: Uint8Array): void;
  onError(error: Error): void;
  onHeader(header: { versions: { software: string }; comments?: string }): void;
  onHandshakeComplete(): void;
  readonly messageHandlers: {
    SERVICE_REQUEST(protocol: unknown, service: string): void;
    DISCONNECT(protocol: unknown, reason: number, words: string): void;
  };
}

/** What is used of ssh2. */
export interface Ssh2 {
  readonly Protocol: new (config: Ssh2ProtocolConfig) => Ssh2Protocol;
  /** What is offered to the client. */
  readonly KexInit: new (
    offer: {
      readonly kex: readonly string[];
      readonly serverHostKey: readonly string[];
      readonly cs: Ssh2Direction;
      readonly sc: Ssh2Direction;
    },
  ) => object;
  parseKey(text: string): Ssh2Key | Ssh2Key[] | Error;
  generateKeyPairSync(type: "ed25519"): { readonly private: string };
}

/** Loads it, which takes 40 ms. */
export async function loadSsh2(): Promise<Ssh2> {
  // In krun's binary its files lie in no folder.
  (globalThis as { __dirname?: string }).__dirname ??= "/";
  const modules = await Promise.all([
    import("ssh2/lib/protocol/crypto.js"),
    import("ssh2/lib/protocol/kex.js"),
    import("ssh2/lib/protocol/keyParser.js"),
    import("ssh2/lib/protocol/Protocol.js"),
    import("ssh2/lib/keygen.js"),
  ]);
  // In the bundle CommonJS has no names of its own.
  const [{ init }, { KexInit }, { parseKey }, Protocol, { generateKeyPairSync }] = modules.map(({ default: all }) =>
    all
  );
  await init;
  return { KexInit, parseKey, Protocol, generateKeyPairSync };
}

/** Whether a connection is over since client and server have no algorithm of a kind in common: which, the message says. */
export function isAlgorithmMismatch({ message }: Error): boolean {
  return message.startsWith("Handshake failed: no matching ");
}

/** ssh2 lets go of ciphers without an end, and Deno keeps the memory of such for ever: a kilobyte each. */
export function endCiphers({ _cipher, _decipher }: Pick<Ssh2Protocol, "_cipher" | "_decipher">): void {
  for (const cipher of [_cipher._cipherInstance, _decipher?._decipherInstance]) {
    try {
      cipher?.final();
    } catch {
      // It has ended already, or was in the middle of a packet.
    }
  }
}
