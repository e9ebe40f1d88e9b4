/**
 * The form of a secret that berglas keeps in a bucket. In: the object's text. Out: its parts, still encrypted.
 *
 * ```
 * base64( KMS.encrypt(DEK) ) ":" base64( NONCE[12] || AES-256-GCM(DEK, NONCE, plaintext) || TAG[16] )
 * ```
 * The object's name is the key service's additional data; the inner encryption has none. Source: pkg/berglas of
 * github.com/GoogleCloudPlatform/berglas.
 *
 * @module
 */

/** The parts of an envelope. */
export interface BerglasEnvelope {
  /** The data encryption key, encrypted by the key service. */
  readonly wrappedKey: Uint8Array<ArrayBuffer>;
  readonly nonce: Uint8Array<ArrayBuffer>;
  /** With the tag at its end, as Web Crypto takes it. */
  readonly ciphertext: Uint8Array<ArrayBuffer>;
}

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Reads an envelope; a text says in one clause what is wrong, and quotes nothing. */
export function parseBerglasEnvelope(text: string): BerglasEnvelope | string {
  const colon = text.indexOf(":");
  if (colon < 0) return "it has not the two parts that berglas writes";
  const [wrappedKey, sealed] = [decoded(text.slice(0, colon)), decoded(text.slice(colon + 1))];
  if (wrappedKey === undefined || sealed === undefined) return "a part of it is not base64";
  if (wrappedKey.length === 0) return "its encrypted key is empty";
  if (sealed.length < NONCE_BYTES + TAG_BYTES) return "its encrypted value is too short";
  return { wrappedKey, nonce: sealed.slice(0, NONCE_BYTES), ciphertext: sealed.slice(NONCE_BYTES) };
}

function decoded(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: "strict" });
  } catch {
    return undefined;
  }
}

/** Name of a key of Google's key service, as the object's metadata `berglas-kms-key` has it. */
export function isKmsKeyName(text: string): boolean {
  return /^projects\/[a-z0-9][a-z0-9.:-]*\/locations\/[a-z0-9-]+\/keyRings\/[\w-]{1,63}\/cryptoKeys\/[\w-]{1,63}$/.test(
    text,
  );
}
