/**
 * A secret that berglas keeps in a bucket. In: the object, and an account. Out: what was encrypted.
 *
 * Attributes, then the content of that very generation, then the key service, then AES-256-GCM here. Source: pkg/berglas/read.go of
 * github.com/GoogleCloudPlatform/berglas.
 *
 * @module
 */
import { type BerglasEnvelope, isKmsKeyName, parseBerglasEnvelope } from "../core/berglas_envelope.ts";
import { crc32c } from "../core/crc32c.ts";
import { KrunError } from "../core/errors.ts";
import { referenceText, type StorageSecret } from "../core/reference.ts";
import type { GoogleAsker } from "./google_asker.ts";
import type { SecretAccess } from "./polled_reader.ts";
import { bytesOf } from "./secret_manager.ts";

interface ObjectAnswer {
  readonly generation?: string;
  /** Bytes, in digits. */
  readonly size?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

interface DecryptAnswer {
  readonly plaintext?: string;
  readonly plaintextCrc32c?: string;
}

/** Key of the object's metadata that names the encryption key. */
const KMS_KEY = "berglas-kms-key";

/** Far more than berglas was made for. */
const LARGEST_BYTES = 8 * 2 ** 20;

/** Bytes of the data encryption key. */
const DEK_BYTES = 32;

/** A secret in a bucket. */
export class BerglasSecret implements SecretAccess {
  readonly #secret: StorageSecret;
  readonly #google: GoogleAsker;
  readonly #text: string;

  constructor(secret: StorageSecret, google: GoogleAsker) {
    this.#secret = secret;
    this.#google = google;
    this.#text = referenceText(secret, "");
  }

  async access({ signal, known }: { signal: AbortSignal | undefined; known?: string | undefined }) {
    const attributes = await this.#google.json<ObjectAnswer>(this.#request(this.#secret.generation), signal);
    if (attributes === undefined) return undefined;
    const { generation = this.#secret.generation, metadata, size } = attributes;
    if (generation === undefined || !/^\d+$/.test(generation)) throw this.#unusable("it has no generation");
    if (generation === known) return "unchanged" as const;
    const key = metadata?.[KMS_KEY] ?? "";
    if (!isKmsKeyName(key)) throw this.#unusable(`its metadata ${KMS_KEY} names no encryption key`);
    // It is read whole, by whoever may start krun, whatever somebody has put there who may encrypt nothing.
    if (Number(size ?? 0) > LARGEST_BYTES) throw this.#unusable(`it has ${size} bytes, more than ${LARGEST_BYTES}`);
    // The live object may be another one by now.
    const body = await this.#google.text(this.#request(generation, "media"), signal);
    if (body === undefined) {
      if (this.#secret.generation !== undefined) return undefined;
      const message = `Cannot read ${this.#text}: it was replaced while it was read`;
      throw new KrunError("GoogleApiFailed", message, "try again", { transient: true });
    }
    const envelope = parseBerglasEnvelope(body);
    if (typeof envelope === "string") throw this.#unusable(envelope);
    const dek = await this.#unwrapped(envelope, key, signal);
    return { bytes: await this.#opened(envelope, dek), version: generation };
  }

  #request(generation: string | undefined, alt?: "media") {
    const { bucket, object } = this.#secret;
    const query = new URLSearchParams({ ...(alt && { alt }), ...(generation !== undefined && { generation }) });
    const place = `/storage/v1/b/${encodeURIComponent(bucket)}/o/${encodedObject(object)}`;
    return {
      what: `read ${this.#text}`,
      host: "storage.googleapis.com",
      path: query.size > 0 ? `${place}?${query}` : place,
      absent: true,
      permission: "storage.objects.get",
    };
  }

  /** The data encryption key. The object's name is bound to it, so that a copy under another name cannot be read. */
  async #unwrapped(
    { wrappedKey }: BerglasEnvelope,
    key: string,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array<ArrayBuffer>> {
    const what = `decrypt ${this.#text} with key "${key}"`;
    const aad = new TextEncoder().encode(this.#secret.object);
    const answer = await this.#google.json<DecryptAnswer>({
      what,
      host: "cloudkms.googleapis.com",
      path: `/v1/${key}:decrypt`,
      body: {
        ciphertext: wrappedKey.toBase64(),
        ciphertextCrc32c: `${crc32c(wrappedKey)}`,
        additionalAuthenticatedData: aad.toBase64(),
        additionalAuthenticatedDataCrc32c: `${crc32c(aad)}`,
      },
      permission: "cloudkms.cryptoKeyVersions.useToDecrypt",
    }, signal);
    const dek = bytesOf(answer?.plaintext ?? "");
    const isWhole = answer?.plaintextCrc32c === undefined || Number(answer.plaintextCrc32c) === (dek && crc32c(dek));
    if (dek && isWhole && dek.length === DEK_BYTES) return dek;
    if (dek && isWhole) throw this.#unusable("its encrypted key is not one of AES-256");
    throw new KrunError("GoogleApiFailed", `Cannot ${what}: the answer was damaged on its way`, "try again", {
      transient: true,
    });
  }

  async #opened({ nonce, ciphertext }: BerglasEnvelope, dek: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    const key = await crypto.subtle.importKey("raw", dek, "AES-GCM", false, ["decrypt"]);
    try {
      return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonce }, key, ciphertext));
    } catch {
      throw this.#unusable("its value does not fit its key");
    }
  }

  #unusable(state: string): KrunError {
    const hint = "write it anew with berglas";
    return new KrunError("ReferenceUnusable", `Cannot read ${this.#text}: ${state}`, hint);
  }
}

/** As the JSON API wants a name in a path. */
function encodedObject(name: string): string {
  return encodeURIComponent(name).replaceAll(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
