/**
 * Packets that are encrypted beside krun's main thread. In: packets as ssh2 makes them. Out: the same bytes that ssh2 would have sent, in the
 * same order. Rules: RFC 5647, and OpenSSH's PROTOCOL for `aes128-gcm@openssh.com`.
 *
 * node:crypto has AES at 170 MB/s with GCM and at 450 with CTR, on the thread that calls; the Web's has GCM at 500, on threads of a pool
 * (docs/decisions.md). A small packet alone, as a key that is typed, is not worth the way there.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { importGcmKey, LARGE_BYTES, LENGTH_FIELD, nextInvocation } from "./gcm.ts";
import { giveBack } from "../net/given_back.ts";
import type { Ssh2Protocol } from "./ssh2.ts";

type Ssh2Cipher = Ssh2Protocol["_cipher"];

/** What of ssh2's cipher for GCM is used. */
interface GcmCipher extends Ssh2Cipher {
  readonly _encKey: Uint8Array<ArrayBuffer>;
  /** Changed with each packet. */
  readonly _encIV: Uint8Array<ArrayBuffer>;
  outSeqno: number;
}

/** So many packets may be under way: more of them only take memory. */
const MOST_UNDER_WAY = 16;

/** The way out of one connection. */
export class GcmOutput {
  readonly #onWrite: (bytes: Uint8Array) => void;
  readonly #onFault: (cause: unknown) => void;
  /** Resolves when all packets before now have gone out. */
  #last: Promise<void> = Promise.resolve();
  #underWay = 0;
  #wakers: (() => void)[] = [];

  /**
   * @param onWrite given bytes that are good until it returns
   * @param onFault called where a packet cannot be encrypted: the connection is to end
   */
  constructor(onWrite: (bytes: Uint8Array) => void, onFault: (cause: unknown) => void) {
    this.#onWrite = onWrite;
    this.#onFault = onFault;
  }

  /**
   * Has the large packets of a cipher encrypted here, where it is GCM; and no packet overtakes another. Resolves when the first may be:
   * until then ssh2 does it.
   */
  async takeOver(cipher: Ssh2Cipher): Promise<void> {
    const encrypt = cipher.encrypt.bind(cipher);
    let key: CryptoKey | undefined;
    cipher.encrypt = (packet) => {
      const isLarge = packet.length >= LARGE_BYTES;
      if (key !== undefined && isGcm(cipher) && (isLarge || this.#underWay > 0)) {
        this.#send(encrypted(packet, { key, cipher }));
      } else if (this.#underWay > 0) {
        const copy = Buffer.from(packet);
        this.#after(() => encrypt(copy));
      } else encrypt(packet);
    };
    if (isGcm(cipher)) key = await importGcmKey(cipher._encKey, "encrypt");
  }

  /** Whether there is room for another packet, so that no more than `most` are under way. */
  hasRoom(most: number = MOST_UNDER_WAY): boolean {
    return this.#underWay < most;
  }

  /** Resolves when there is room for another packet, or fewer than `most` are under way. */
  async room(most: number = MOST_UNDER_WAY): Promise<void> {
    while (this.#underWay >= most) await new Promise<void>((resolve) => this.#wakers.push(resolve));
  }

  /** Resolves when all packets have gone out, or never will. */
  async emptied(): Promise<void> {
    await this.#last;
  }

  #send(pieces: Promise<readonly Uint8Array[]>): void {
    pieces.catch(() => {}); // It is heard in its turn.
    this.#after(async () => {
      for (const piece of await pieces) {
        this.#onWrite(piece);
        giveBack(piece);
      }
    });
  }

  #after(act: () => void | Promise<void>): void {
    this.#underWay++;
    this.#last = this.#last.then(act).catch(this.#onFault).finally(() => {
      this.#underWay--;
      const wakers = this.#wakers;
      this.#wakers = [];
      for (const wake of wakers) wake();
    });
  }
}

/** The length field, which is not encrypted, and the rest with its tag. The packet may be used anew when it returns. */
async function encrypted(
  packet: Buffer,
  { key, cipher }: { key: CryptoKey; cipher: GcmCipher },
): Promise<readonly Uint8Array[]> {
  const length = Uint8Array.from(packet.subarray(0, LENGTH_FIELD));
  const iv = Uint8Array.from(cipher._encIV);
  nextInvocation(cipher._encIV);
  cipher.outSeqno = (cipher.outSeqno + 1) >>> 0;
  const algorithm = { name: "AES-GCM", iv, additionalData: length };
  // What it is given is copied before it returns (Web Cryptography API, 14.3.1).
  const content = packet.subarray(LENGTH_FIELD) as Uint8Array<ArrayBuffer>;
  return [length, new Uint8Array(await crypto.subtle.encrypt(algorithm, key, content))];
}

function isGcm(cipher: Ssh2Cipher): cipher is GcmCipher {
  return "_encKey" in cipher && "_encIV" in cipher;
}
