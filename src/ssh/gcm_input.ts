/**
 * Packets that are decrypted beside krun's main thread. In: a client's bytes, under one key. Out: payloads, in the order of their packets.
 * Rules: RFC 4253, section 6; RFC 5647; OpenSSH's PROTOCOL for `aes128-gcm@openssh.com`.
 *
 * It stands in the place of ssh2's own decipher, which has a packet decrypted before it looks at the next one. A packet's length is in clear,
 * so that many can be under way at once; a small one with nothing before it, as a key that is typed, is decrypted where it comes in.
 *
 * No packet is begun under a key that might not be its own. A client may use its next key after it has our half of an exchange, and
 * that goes out no sooner than our list of algorithms: from then on (`isExchanging`) one packet is handed up before the next is begun. What
 * was begun before, the client said before it could know a next key: where its change of keys is among that, nothing may follow.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type CipherGCMTypes, createDecipheriv } from "node:crypto";
import { SshFormatError } from "../core/ssh_wire.ts";
import { importGcmKey, LARGE_BYTES, LENGTH_FIELD, nextInvocation, TAG } from "./gcm.ts";
import type { Ssh2Decipher, Ssh2GcmDecipher } from "./ssh2.ts";

/** What a {@linkcode GcmInput} is to know of its connection. */
export interface GcmInputOptions {
  /** Keys are being exchanged. */
  isExchanging(): boolean;
  /** Whether it may hold packets for this client, and threads. */
  mayWorkAhead(): boolean;
  /** A packet that was under way breaks the protocol: the connection is to end. Called once at most; nothing is handed up after it. */
  onFault(cause: unknown): void;
}

/** A packet that is under way, or waits for its turn. */
interface Ahead {
  /** What is in it, once it is decrypted. */
  content?: Uint8Array;
  fault?: { readonly cause: unknown };
}

/** So many packets may be under way: the fourth thread brings little, and each packet takes three times its length. */
const MOST_UNDER_WAY = 8;

/** As ssh2 has it, bytes of a packet as a whole. */
const LONGEST_PACKET = 35_000;

const BLOCK = 16, LEAST_PADDING = 4;

/** The messages below are ssh2's, which takes them as Buffers. */
const FIRST_ABOVE = 50;

/** The way in of one connection under one key. */
export class GcmInput implements Ssh2Decipher {
  inSeqno: number;
  _onPayload: (payload: Uint8Array) => unknown;
  readonly #options: GcmInputOptions;
  readonly #keyBytes: Uint8Array<ArrayBuffer>;
  readonly #iv: Uint8Array<ArrayBuffer>;
  /** Of the Web's crypto, once it is there. */
  #key: CryptoKey | undefined;
  /** A packet, or its length, that has not come as a whole. */
  #begun: { readonly bytes: Uint8Array; length: number } | undefined;
  readonly #ahead: Ahead[] = [];
  #rest: Uint8Array | undefined;
  /** Nothing that comes is taken any more. */
  #isDeaf = false;
  #wakers: (() => void)[] = [];

  /** @param decipher ssh2's, whose key and place it takes; not used after that */
  constructor(decipher: Ssh2GcmDecipher, options: GcmInputOptions) {
    this.inSeqno = decipher.inSeqno;
    this._onPayload = decipher._onPayload;
    this.#keyBytes = decipher._decipherKey;
    this.#iv = decipher._decipherIV;
    this.#options = options;
    importGcmKey(this.#keyBytes, "decrypt").then((key) => this.#key = key, (cause) => this.#end(cause));
  }

  /** What it had no room for; once {@linkcode room} has resolved it is to be given again, to whoever is in its place then. */
  takeRest(): Uint8Array | undefined {
    const rest = this.#rest;
    this.#rest = undefined;
    return rest;
  }

  /** Resolves when it takes some packets again, or never will. */
  async room(): Promise<void> {
    // Not for each one: to begin again costs as much as a packet.
    const most = () => this.#options.isExchanging() ? 0 : MOST_UNDER_WAY / 2;
    while (this.#ahead.length > most()) await new Promise<void>((resolve) => this.#wakers.push(resolve));
  }

  /**
   * Takes bytes up to `to`, as ssh2's do: the result is where another decipher is to go on, if one is. Nothing of the bytes is looked at
   * when it has returned, but the rest.
   *
   * @throws {Error} when they break the protocol, and nothing was under way
   */
  decrypt(data: Buffer, from: number, to: number): number | undefined {
    try {
      // Views of a Buffer are Buffers, which take much longer to make.
      return this.#takeAll(new Uint8Array(data.buffer, data.byteOffset, data.length), { from, to });
    } catch (cause) {
      this.#isDeaf = true;
      if (this.#ahead.length === 0) throw cause;
      this.#ahead.push({ fault: { cause } });
      return undefined;
    }
  }

  /** Hands nothing up any more. */
  free(): void {
    this.#isDeaf = true;
    this.#ahead.length = 0;
    this.#wake();
  }

  get #isFull(): boolean {
    const underWay = this.#ahead.length;
    return underWay >= MOST_UNDER_WAY || (underWay > 0 && this.#options.isExchanging());
  }

  #takeAll(data: Uint8Array, { from, to }: { from: number; to: number }): number | undefined {
    for (let at = from; at < to && !this.#isDeaf;) {
      if (this.#isFull) {
        this.#rest = data.subarray(at, to);
        return undefined;
      }
      const { packet, taken } = this.#next(data.subarray(at, to));
      at += taken;
      if (!packet) continue;
      const result = this.#take(packet);
      if (result !== undefined) return result === false ? at : result as number;
    }
    return undefined;
  }

  /** The packet that the bytes begin or go on with, once it is there as a whole, and how many of them it took. */
  #next(bytes: Uint8Array): { packet?: Uint8Array; taken: number } {
    if (!this.#begun && bytes.length >= LENGTH_FIELD) {
      const taken = packetLength(bytes);
      if (taken <= bytes.length) return { packet: bytes.subarray(0, taken), taken };
    }
    const begun = this.#begun ??= { bytes: new Uint8Array(LENGTH_FIELD), length: 0 };
    const taken = Math.min(bytes.length, begun.bytes.length - begun.length);
    begun.bytes.set(bytes.subarray(0, taken), begun.length);
    begun.length += taken;
    if (begun.length < begun.bytes.length) return { taken };
    if (begun.length > LENGTH_FIELD) {
      this.#begun = undefined;
      return { packet: begun.bytes, taken };
    }
    const whole = new Uint8Array(packetLength(begun.bytes));
    whole.set(begun.bytes);
    this.#begun = { bytes: whole, length: LENGTH_FIELD };
    return { taken };
  }

  /** What the layers said of it, where it was handed up at once. */
  #take(packet: Uint8Array): unknown {
    const isLarge = packet.length >= LARGE_BYTES;
    const isWorthIt = isLarge && this.#key !== undefined && this.#options.mayWorkAhead() &&
      !this.#options.isExchanging();
    if (this.#ahead.length === 0 && !isWorthIt) return this.#handUp(this.#decryptNow(packet));
    this.#add(isWorthIt ? this.#decryptBeside(packet, this.#key!) : Promise.try(() => this.#decryptNow(packet)));
    return undefined;
  }

  #decryptNow(packet: Uint8Array): Uint8Array {
    const algorithm = `aes-${8 * this.#keyBytes.length}-gcm` as CipherGCMTypes;
    const decipher = createDecipheriv(algorithm, this.#keyBytes, this.#iv);
    nextInvocation(this.#iv);
    decipher.setAAD(packet.subarray(0, LENGTH_FIELD));
    const content = decipher.update(packet.subarray(LENGTH_FIELD, -TAG));
    decipher.setAuthTag(packet.subarray(-TAG));
    decipher.final();
    return content;
  }

  async #decryptBeside(packet: Uint8Array, key: CryptoKey): Promise<Uint8Array> {
    const iv = Uint8Array.from(this.#iv);
    nextInvocation(this.#iv);
    const additionalData = Uint8Array.from(packet.subarray(0, LENGTH_FIELD));
    // What it is given is copied before it returns (Web Cryptography API, 14.3.2).
    const content = packet.subarray(LENGTH_FIELD) as Uint8Array<ArrayBuffer>;
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv, additionalData }, key, content));
  }

  #add(content: Promise<Uint8Array>): void {
    const packet: Ahead = {};
    this.#ahead.push(packet);
    const done = content.then((content) => void (packet.content = content), (cause) => void (packet.fault = { cause }));
    void done.then(() => this.#handUpAll());
  }

  #handUpAll(): void {
    try {
      for (let packet; (packet = this.#ahead[0]) && (packet.content ?? packet.fault);) {
        if (!packet.content) throw packet.fault!.cause;
        this.#ahead.shift();
        const isLast = this.#ahead.length === 0 && !this.#begun;
        const areNewKeys = this.#handUp(packet.content) === false;
        if (areNewKeys && !isLast) throw new SshFormatError("the client goes on with keys that it has changed");
      }
    } catch (cause) {
      this.#end(cause);
    }
    this.#wake();
  }

  #handUp(content: Uint8Array): unknown {
    const padding = content[0]!;
    if (padding < LEAST_PADDING || padding >= content.length) throw new SshFormatError("a packet has a bad padding");
    this.inSeqno = (this.inSeqno + 1) >>> 0;
    const { buffer, byteOffset, length } = content;
    const view = [buffer, byteOffset + 1, length - 1 - padding] as const;
    const isAbove = content.length > 1 && content[1]! >= FIRST_ABOVE;
    return this._onPayload(isAbove ? new Uint8Array(...view) : Buffer.from(...view));
  }

  #end(cause: unknown): void {
    this.free();
    this.#options.onFault(cause);
  }

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }
}

/** Whether a decipher of ssh2's is one for AES-GCM. */
export function isGcmDecipher(decipher: Ssh2Decipher): decipher is Ssh2GcmDecipher {
  return "_decipherKey" in decipher && "_decipherIV" in decipher;
}

/** Of the packet as a whole. @throws {SshFormatError} when no packet is so long */
function packetLength({ buffer, byteOffset }: Uint8Array): number {
  const length = new DataView(buffer, byteOffset).getUint32(0);
  const whole = LENGTH_FIELD + length + TAG;
  if (length < BLOCK || length % BLOCK !== 0 || whole > LONGEST_PACKET) {
    throw new SshFormatError("a packet has a bad length");
  }
  return whole;
}
