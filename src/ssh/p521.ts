/**
 * ECDSA over P-521 for a runtime that has no such curve (Deno 2.6): by a library, which is loaded by the first key that needs it. In: what
 * a client offers. Out: a verifier.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { getCurves } from "node:crypto";
import type { P521Verifier } from "../core/ssh_signature.ts";

/** The verifier of a server. */
export class P521 {
  #verifier: P521Verifier | undefined;

  /** Unset until an offer has needed it. */
  get verifier(): P521Verifier | undefined {
    return this.#verifier;
  }

  /** Gets ready for an offer: a key, or a certificate with whatever keys. 8 ms and 3 MB, once. */
  async prepare(offer: Uint8Array): Promise<void> {
    if (this.#verifier || getCurves().includes("secp521r1")) return;
    const names = Buffer.from(offer.buffer, offer.byteOffset, offer.length).includes("nistp521");
    if (names) this.#verifier = await loadP521();
  }
}

/** Loads the library. */
export async function loadP521(): Promise<P521Verifier> {
  const { p521 } = await import("@noble/curves/nist.js");
  // What others make has large numbers as well as small ones.
  return ({ point, numbers, data }) => p521.verify(numbers, data, point, { lowS: false, prehash: true });
}
