/**
 * The client's side of SSH's transport, which lets a test say anything. By ssh2, as krun's own side.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { SSH_MESSAGE } from "../src/core/ssh_messages.ts";
import { concatBytes } from "../src/core/ssh_wire.ts";
import { loadSsh2, type Ssh2Cipher } from "../src/ssh/ssh2.ts";

/** What a client offers; unset: all that ssh2 has. */
export interface ClientOffer {
  readonly kex?: readonly string[];
  readonly cipher?: readonly string[];
  readonly mac?: readonly string[];
  readonly hostKey?: readonly string[];
  /** Says each time that the next packet is a guess of the exchange (RFC 4253, 7); whoever wants a wrong one sends it. @default {false} */
  readonly guesses?: boolean;
}

/** Options of {@linkcode SshClientTransport}. */
export interface ClientTransportOptions {
  readonly offer?: ClientOffer;
  onWrite(bytes: Uint8Array): void;
  onPayload?(payload: Uint8Array): void;
  onDisconnect?(reason: number): void;
  /** The server does not know the message of that number. */
  onUnimplemented?(number: number): void;
}

/** As far as ssh2's class is used here. */
interface ClientProtocol {
  start(): void;
  parse(bytes: Buffer, from: number, to: number): void;
  rekey(): void;
  service(name: string): void;
  cleanup(): void;
  _onPayload(payload: Uint8Array): unknown;
  readonly _cipher: {
    allocPacket(length: number): Buffer;
    encrypt(packet: Buffer): void;
    _cipherInstance?: Ssh2Cipher;
  };
  readonly _decipher: { _decipherInstance?: Ssh2Cipher } | undefined;
  readonly _kex: { readonly sessionID: Uint8Array } | undefined;
  readonly _kexinit: unknown;
}

const { Protocol, parseKey } = await loadSsh2();
const FIRST_ABOVE = 50, PAYLOAD = 5;

/** Reads a private key in OpenSSH's form, to sign with. */
export function readKey(text: string): { readonly blob: Uint8Array; sign(data: Uint8Array): Uint8Array } {
  const key = parseKey(text) as unknown as { getPublicSSH(): Uint8Array; sign(data: Uint8Array): Uint8Array };
  return { blob: key.getPublicSSH(), sign: (data) => key.sign(Buffer.from(data)) };
}

/** One connection, the client's side. */
export class SshClientTransport {
  readonly #protocol: ClientProtocol;
  #waiting: Uint8Array[] = [];
  /** How often keys were exchanged. */
  exchanges = 0;
  #fault: Error | undefined;
  #inForce: Ssh2Cipher[] = [];
  #accepted: (() => void) | undefined;

  constructor({ offer = {}, onWrite, onPayload, onDisconnect, onUnimplemented }: ClientTransportOptions) {
    const ssh2 = Protocol as unknown as new (config: object) => ClientProtocol;
    this.#protocol = new ssh2({
      ident: "test",
      onWrite,
      offer: clientOffer(offer),
      onError: (error: Error) => void (this.#fault ??= error),
      onHandshakeComplete: () => this.#exchanged(),
      messageHandlers: {
        SERVICE_ACCEPT: () => this.#accepted?.(),
        DISCONNECT: (_: unknown, reason: number) => onDisconnect?.(reason),
      },
    });
    if (offer.guesses) sayThatItGuesses(this.#protocol);
    const below = this.#protocol._onPayload;
    this.#protocol._onPayload = (payload) => {
      if (payload[0] === SSH_MESSAGE.unimplemented) onUnimplemented?.(Buffer.from(payload).readUInt32BE(1));
      return payload[0]! >= FIRST_ABOVE ? onPayload?.(payload) : below(payload);
    };
  }

  /** Says its version. */
  start(): void {
    this.#protocol.start();
  }

  /** Takes bytes of the server. */
  receive(bytes: Uint8Array): void {
    this.#protocol.parse(Buffer.from(bytes), 0, bytes.length);
    if (this.#fault) throw this.#fault;
  }

  get sessionId(): Uint8Array {
    return this.#protocol._kex?.sessionID ?? new Uint8Array();
  }

  /** Keys are being exchanged. */
  get isExchanging(): boolean {
    return this.#protocol._kexinit !== undefined;
  }

  /** Asks for a service; resolves when it is accepted. */
  async service(name: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#accepted = resolve;
    this.#protocol.service(name);
    await promise;
  }

  /** Sends any payload, after an exchange of keys that is under way; `atOnce`: in the middle of it. */
  send(payload: Uint8Array, { atOnce = false }: { atOnce?: boolean } = {}): void {
    if (this.isExchanging && !atOnce) return void this.#waiting.push(payload);
    const packet = this.#protocol._cipher.allocPacket(payload.length);
    packet.set(payload, PAYLOAD);
    this.#protocol._cipher.encrypt(packet);
  }

  /** Begins to exchange keys. */
  rekey(): void {
    this.#protocol.rekey();
  }

  close(): void {
    this.#protocol.cleanup();
    this.#endCiphers();
    // Those that were in force until now.
    this.#endCiphers();
  }

  /** Deno keeps the memory of a cipher until it has ended. */
  #endCiphers(): void {
    for (const cipher of this.#inForce) {
      try {
        cipher.final();
      } catch {
        // It has ended already.
      }
    }
    const ciphers = [this.#protocol._cipher._cipherInstance, this.#protocol._decipher?._decipherInstance];
    this.#inForce = ciphers.filter((cipher) => cipher !== undefined);
  }

  #exchanged(): void {
    this.exchanges++;
    this.#endCiphers();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const payload of waiting) this.send(payload);
  }
}

/** Changes what it begins an exchange with before it signs and sends that. */
function sayThatItGuesses(protocol: Pick<ClientProtocol, "_kexinit">): void {
  const FROM_THE_END = 5;
  let own: Uint8Array | undefined;
  Object.defineProperty(protocol, "_kexinit", {
    get: () => own,
    set: (payload: Uint8Array | undefined) => {
      own = payload;
      own?.set([1], own.length - FROM_THE_END);
    },
  });
}

function clientOffer({ kex = ["curve25519-sha256"], cipher, mac, hostKey }: ClientOffer): object {
  const ciphers = cipher ?? ["aes128-gcm@openssh.com"];
  const macs = mac ?? ["hmac-sha2-256-etm@openssh.com"];
  const both = { cipher: ciphers, mac: macs, compress: ["none"], lang: [] };
  const serverHostKey = hostKey ?? ["ssh-ed25519", "ecdsa-sha2-nistp256", "rsa-sha2-512"];
  return { kex: [...kex], serverHostKey, cs: both, sc: both };
}

/** A packet as it is before there are keys. */
export function plainPacket(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const padding = 8 - (5 + payload.length) % 8 + 8;
  const length = new DataView(new ArrayBuffer(5));
  length.setUint32(0, 1 + payload.length + padding);
  length.setUint8(4, padding);
  return concatBytes(new Uint8Array(length.buffer), payload, new Uint8Array(padding));
}
