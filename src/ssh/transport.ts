/**
 * SSH's transport layer, by ssh2: versions, key exchange, encryption. In: bytes of a connection. Out: payloads of packets, and the
 * bytes of answers. Rules: RFC 4253, RFC 8308, OpenSSH's PROTOCOL ("strict KEX").
 *
 * Only this layer is ssh2's. Of its channels one that waits for the client's window sends bytes twice when standard error waits
 * too, and nothing there holds a client to its window; of commands that are no UTF-8 it loses bytes (docs/decisions.md).
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { randomFillSync } from "node:crypto";
import { SSH_ALGORITHMS } from "../core/ssh_algorithm.ts";
import { ciphersFromServer, hasFirstPacket } from "../core/ssh_kexinit.ts";
import { disconnectMessage, extInfo } from "../core/ssh_messages.ts";
import { SshFormatError } from "../core/ssh_wire.ts";
import { MAX_PACKET } from "./channel.ts";
import { GcmOutput } from "./gcm_output.ts";
import { PIECE_BYTES } from "./output_queue.ts";
import { ecdsaHostKey } from "./ecdsa_host_key.ts";
import type { Ssh2, Ssh2Key, Ssh2Protocol } from "./ssh2.ts";

/** A key that the server proves to be its own by. */
export interface HostKey {
  /** As `ssh-ed25519`. */
  readonly type: string;
  /** Its public part, as SSH has it. */
  readonly publicBlob: Uint8Array;
  readonly parsed: Ssh2Key;
}

/** Options of {@linkcode SshTransport}. None of the functions may throw, but `onPayload`, which then ends the connection. */
export interface SshTransportOptions {
  readonly ssh2: Ssh2;
  readonly hostKeys: readonly HostKey[];
  /** Bytes for the client. */
  onWrite(bytes: Uint8Array): void;
  /** What the client calls itself, as `OpenSSH_9.2p1 Debian-2`. */
  onVersion(software: string): void;
  /** The client wants to log in, or another service, which is refused. */
  onService(service: string): void;
  /** A message of the layers above; good until it returns. */
  onPayload(payload: Uint8Array): void;
  /** The client says goodbye, in its own words. */
  onDisconnect(reason: number, words: string): void;
  /** Keys were exchanged, for the first time or anew. */
  onKeys?(): void;
  /** How many bytes of either side keys last. @default {1 GiB} */
  readonly keysLastBytes?: number;
}

/** Reasons of SSH_MSG_DISCONNECT. */
export const DISCONNECT = {
  protocolError: 2,
  serviceNotAvailable: 7,
  byApplication: 11,
  tooManyConnections: 12,
  noMoreMethods: 14,
} as const;

/**
 * What OpenSSH of the last ten years, Go's and Python's libraries have, without SHA-1, CBC and compression. Not ecdh-sha2-nistp521:
 * Deno has no exchange of keys on that curve.
 */
const ALGORITHMS = {
  kex: [
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "kex-strict-s-v00@openssh.com",
  ],
  cipher: ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr"],
  // From the server it is the faster one (gcm_output.ts), but a client takes the first of its own list, which OpenSSH's CTR was until 10.0:
  // who has GCM is offered nothing else.
  gcm: ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"],
  mac: ["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"],
  compress: ["none"],
} as const;

/** Algorithms of a login's signature. */
const SIGNATURES = [...new Set(SSH_ALGORITHMS.map(({ signature }) => signature))];

/** Layers above the transport begin here. */
const FIRST_ABOVE = 50;

/** The longest line with which a client may begin, bytes (RFC 4253, 4.2). */
const LONGEST_VERSION = 255;

/** After so many bytes of either side keys are exchanged anew (RFC 4253, 9); of packets that is fewer than RFC 4344, 3.1 has. */
const KEYS_LAST_BYTES = 2 ** 30;

const LINE_FEED = 10;

/** How long a client may wait for what is offered before it says what it has: either may begin (RFC 4253, 7.1). Milliseconds. */
const PATIENCE_MS = 1_000;

/** Makes a key of type ed25519; `text` is its private half in OpenSSH's form. */
export function makeHostKey(ssh2: Pick<Ssh2, "parseKey" | "generateKeyPairSync">): { key: HostKey; text: string } {
  for (;;) {
    const text = ssh2.generateKeyPairSync("ed25519").private;
    const key = readHostKey(ssh2, text);
    // ssh2 cuts zeros from the beginning of the public half: one key in 256 is none.
    if (typeof key !== "string") return { key, text };
  }
}

/** Reads a private key in OpenSSH's or PEM form. Returns why it is none of use. Never throws. */
export function readHostKey({ parseKey }: Pick<Ssh2, "parseKey">, text: string): HostKey | string {
  try {
    const read = parseKey(text);
    if (read instanceof Error) return "it is no private key, or has a passphrase";
    const key = Array.isArray(read) ? read[0] : read;
    if (!key?.isPrivateKey()) return "it is no private key";
    if (key.type === "ssh-dss") return "DSA is not secure any more";
    const parsed = key.type.startsWith("ecdsa-") ? ecdsaHostKey(key) : key;
    const probe = parsed.sign(Buffer.from("a probe"), key.type === "ssh-rsa" ? "sha512" : undefined);
    if (probe instanceof Error) return `it does not sign: ${probe.message}`;
    return { type: key.type, publicBlob: key.getPublicSSH(), parsed };
  } catch (cause) {
    // Of ssh2, or of Deno's crypto: neither says what it takes.
    return `it is none that can be used, which ssh-keygen -p may change: ${(cause as Error).message}`;
  }
}

/** One connection's transport, the server's side. */
export class SshTransport {
  readonly #protocol: Ssh2Protocol;
  readonly #options: SshTransportOptions;
  readonly #gcm: GcmOutput;
  /** Payloads that wait for the end of a key exchange. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  /** What there is of the client's version and first packet; `undefined` once ssh2 has them. */
  #begun: Buffer | undefined = Buffer.alloc(0);
  #patience: ReturnType<typeof setTimeout> | undefined;
  readonly #offerTo: (cipher: readonly string[]) => object;
  #fault: Error | undefined;
  #hasKeys = false;
  #isClosed = false;
  /** Bytes of this side and of the client's under the keys that are in force. */
  #used = { out: 0, in: 0 };
  #inForce: Pick<Ssh2Protocol, "_cipher" | "_decipher"> | undefined;

  constructor(options: SshTransportOptions) {
    this.#options = options;
    const { ssh2: { KexInit, Protocol }, hostKeys, onWrite, onVersion, onService, onDisconnect } = options;
    const { serverHostKey, keys } = hostKeyTable(hostKeys);
    const both = { mac: ALGORITHMS.mac, compress: ALGORITHMS.compress, lang: [] };
    const cs = { ...both, cipher: ALGORITHMS.cipher };
    this.#offerTo = (cipher) => new KexInit({ kex: ALGORITHMS.kex, serverHostKey, cs, sc: { ...both, cipher } });
    const write = (bytes: Uint8Array) => {
      this.#used.out += bytes.length;
      onWrite(bytes);
    };
    this.#gcm = new GcmOutput(write, (cause) => void (this.#fault ??= cause as Error));
    this.#protocol = new Protocol({
      server: true,
      hostKeys: keys,
      // To nobody else does OpenSSH's client say that its output was closed, as in `ssh HOST yes | head` (compat.c, SSH_NEW_OPENSSH).
      ident: "OpenSSH_compatible_krun",
      offer: this.#offerTo(ALGORITHMS.cipher),
      onWrite: write,
      onError: (error) => void (this.#fault ??= error),
      onHeader: ({ versions: { software }, comments }) => onVersion(comments ? `${software} ${comments}` : software),
      onHandshakeComplete: () => this.#exchanged(),
      messageHandlers: {
        SERVICE_REQUEST: (_, service) => onService(service),
        DISCONNECT: (_, reason, words) => onDisconnect(reason, words),
      },
    });
    const below = this.#protocol._onPayload;
    this.#protocol._onPayload = (payload) => {
      const isAbove = payload.length > 0 && payload[0]! >= FIRST_ABOVE;
      return isAbove ? options.onPayload(payload) : below(payload);
    };
    this.#tellSignatures();
    this.#protocol.start?.();
  }

  /** The identifier of the session, which signatures of logins cover. There is one after the first key exchange. */
  get sessionId(): Uint8Array {
    return this.#protocol._kex?.sessionID ?? new Uint8Array();
  }

  /** Whether it takes another packet now. */
  get hasRoom(): boolean {
    return this.#gcm.hasRoom;
  }

  /** Resolves when it takes another packet, or fewer than `most` are on their way. */
  room(most?: number): Promise<void> {
    return this.#gcm.room(most);
  }

  /** Resolves when all that was sent was given to `onWrite`. */
  emptied(): Promise<void> {
    return this.#gcm.emptied();
  }

  /** Whether nothing of what it is given is looked at once it has returned. */
  get copiesBytes(): boolean {
    return this.#hasKeys && !this.isExchanging;
  }

  /** Takes bytes of the client. @throws {Error} when they break the protocol: the connection is to be ended */
  receive(bytes: Uint8Array): void {
    // It may keep a view of them.
    const chunk = this.#beginning(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (!chunk) return;
    this.#used.in += chunk.length;
    this.#protocol.parse(chunk, 0, chunk.length);
    if (this.#fault) throw this.#fault;
    this.#renewKeys();
  }

  /** How much memory takes what waits for the end of a key exchange, bytes. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Keys are being exchanged: what is sent now waits. */
  get isExchanging(): boolean {
    return this.#protocol._kexinit !== undefined;
  }

  /** Accepts the service that was asked for. */
  acceptService(service: string): void {
    this.#protocol.serviceAccept(service);
  }

  /** Sends a payload, head first, in its turn. */
  send(head: Uint8Array, body?: Uint8Array): void {
    if (this.isExchanging) {
      const payload = Buffer.concat(body ? [head, body] : [head]);
      this.#waitingBytes += payload.length + PIECE_BYTES;
      this.#waiting.push(payload);
      return;
    }
    const PAYLOAD = 5;
    const packet = this.#packet(head.length + (body?.length ?? 0));
    packet.set(head, PAYLOAD);
    if (body) packet.set(body, PAYLOAD + head.length);
    this.#protocol._cipher.encrypt(packet);
    this.#renewKeys();
  }

  /** Room for a packet, with its lengths and its padding. */
  #packet(payloadLength: number): Buffer {
    const isLarge = payloadLength >= LARGE_BYTES && payloadLength <= MAX_PACKET + MAX_HEAD;
    return this.#hasKeys && isLarge ? sharedPacket(payloadLength) : this.#protocol._cipher.allocPacket(payloadLength);
  }

  /** Exchanges keys anew, if there are some and none are being exchanged. */
  rekey(): void {
    if (this.#hasKeys && !this.#isClosed && !this.isExchanging) this.#protocol.rekey();
  }

  /** Says goodbye, and why in a few words, if the connection still stands. */
  disconnect(reason: number, words = ""): void {
    try {
      // ssh2 has no words for it; but it may say it in the middle of an exchange of keys.
      if (this.#hasKeys && !this.isExchanging) this.send(disconnectMessage(reason, words));
      else this.#protocol.disconnect(reason);
    } catch {
      // It has ended already.
    }
  }

  /** Lets go of what it holds. */
  close(): void {
    this.#isClosed = true;
    this.#endBeginning();
    this.#protocol.cleanup();
    endCiphers(this.#protocol);
  }

  /** In place of ssh2's list, in which RSA with SHA-1 stands, and RSA with SHA-512 does not. */
  #tellSignatures(): void {
    const protocol = this.#protocol;
    const exchanged = protocol._onHandshakeComplete;
    let isFirst = true;
    protocol._onHandshakeComplete = (negotiated) => {
      const kex = protocol._kex!;
      // It has to follow the end of the exchange, before whatever waits for that.
      if (isFirst && kex.remoteExtInfoEnabled) this.#waiting.unshift(extInfo(SIGNATURES));
      isFirst = false;
      kex.remoteExtInfoEnabled = false;
      exchanged(negotiated);
    };
  }

  #exchanged(): void {
    if (this.#inForce) endCiphers(this.#inForce);
    this.#inForce = { _cipher: this.#protocol._cipher, _decipher: this.#protocol._decipher };
    void this.#gcm.takeOver(this.#protocol._cipher);
    this.#hasKeys = true;
    this.#used = { out: 0, in: 0 };
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const payload of waiting) this.send(payload);
    this.#options.onKeys?.();
  }

  #renewKeys(): void {
    const { keysLastBytes = KEYS_LAST_BYTES } = this.#options;
    if (Math.max(this.#used.out, this.#used.in) >= keysLastBytes) this.rekey();
  }

  /**
   * The client's version and its first packet, as a whole: ssh2 loses what comes after the second piece of a version, and offers what it
   * has as soon as that is there. Undefined: there is more to come.
   */
  #beginning(chunk: Buffer): Buffer | undefined {
    if (!this.#begun) return chunk;
    const all = this.#begun = Buffer.concat([this.#begun, chunk]);
    const end = all.indexOf(LINE_FEED);
    if (end >= LONGEST_VERSION || (end < 0 && all.length >= LONGEST_VERSION)) {
      throw new SshFormatError("the client's version is too long");
    }
    if (end < 0) return undefined;
    const packet = all.subarray(end + 1);
    if (all.toString("latin1", 0, 4) !== "SSH-") return this.#endBeginning();
    if (!hasFirstPacket(packet)) {
      this.#patience ??= setTimeout(() => this.#begin(), PATIENCE_MS);
      return undefined;
    }
    if (ciphersFromServer(packet).some((cipher) => ALGORITHMS.gcm.some((gcm) => gcm === cipher))) {
      this.#protocol._offer = this.#offerTo(ALGORITHMS.gcm);
    }
    return this.#endBeginning();
  }

  /** The client waits for what is offered before it says what it has. */
  #begin(): void {
    const all = this.#endBeginning()!;
    try {
      this.#protocol.parse(all, 0, all.length);
    } catch (cause) {
      this.#options.onDisconnect(DISCONNECT.protocolError, (cause as Error).message);
    }
  }

  #endBeginning(): Buffer | undefined {
    const all = this.#begun;
    this.#begun = undefined;
    clearTimeout(this.#patience);
    return all;
  }
}

/** From here on a packet is made in the shared buffer; beside what a channel sends at once there are at most so many bytes. */
const LARGE_BYTES = 1024, MAX_HEAD = 64;

let shared: Buffer | undefined;

/**
 * As ssh2's `allocPacket`, for ciphers with blocks of 16 bytes whose length field is not encrypted, which all that are offered are. A packet
 * is encrypted before anything else happens, into bytes of its own, so that one buffer does for all: to allocate it costs as much as a
 * tenth of its encryption.
 */
function sharedPacket(payloadLength: number): Buffer {
  const BLOCK = 16, LEAST_PADDING = 4, LENGTH_FIELD = 4;
  shared ??= Buffer.alloc(MAX_PACKET + MAX_HEAD + 2 * BLOCK + LENGTH_FIELD + 1);
  let padding = BLOCK - (1 + payloadLength) % BLOCK;
  if (padding < LEAST_PADDING) padding += BLOCK;
  const packet = shared.subarray(0, LENGTH_FIELD + 1 + payloadLength + padding);
  packet.writeUInt32BE(packet.length - LENGTH_FIELD);
  packet[LENGTH_FIELD] = padding;
  randomFillSync(packet, packet.length - padding, padding);
  return packet;
}

/** The keys by the algorithms that they sign with: of several keys of one kind the first. */
function hostKeyTable(hostKeys: readonly HostKey[]): { serverHostKey: string[]; keys: Record<string, Ssh2Key> } {
  const keys: Record<string, Ssh2Key> = {};
  for (const { type, parsed } of hostKeys) {
    for (const algorithm of type === "ssh-rsa" ? ["rsa-sha2-512", "rsa-sha2-256"] : [type]) keys[algorithm] ??= parsed;
  }
  return { serverHostKey: Object.keys(keys), keys };
}

/** ssh2 lets go of ciphers without an end, and Deno keeps the memory of such for ever: a kilobyte each. */
function endCiphers({ _cipher, _decipher }: Pick<Ssh2Protocol, "_cipher" | "_decipher">): void {
  for (const cipher of [_cipher._cipherInstance, _decipher?._decipherInstance]) {
    try {
      cipher?.final();
    } catch {
      // It has ended already, or was in the middle of a packet.
    }
  }
}
