/**
 * A secret of Google's Secret Manager, global or regional. In: its version, and an account. Out: the payload.
 *
 * Rule: https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access, and for a regional secret
 * the same at the region's own host.
 *
 * @module
 */
import { crc32c } from "../core/crc32c.ts";
import { KrunError } from "../core/errors.ts";
import { secretPath, type SecretVersion } from "../core/reference.ts";
import type { GoogleAsker } from "./google_asker.ts";
import type { SecretAccess, SecretContent } from "./polled_reader.ts";

interface AccessAnswer {
  /** With the version's number. */
  readonly name?: string;
  readonly payload?: { readonly data?: string; readonly dataCrc32c?: string };
}

/** A version of a secret. */
export class SecretManagerSecret implements SecretAccess {
  readonly #secret: SecretVersion;
  readonly #google: GoogleAsker;

  constructor(secret: SecretVersion, google: GoogleAsker) {
    this.#secret = secret;
    this.#google = google;
  }

  async access({ signal, known }: { signal: AbortSignal | undefined; known?: string | undefined }) {
    const path = secretPath(this.#secret);
    const { location } = this.#secret;
    const what = `access secret "${path}"`;
    const answer = await this.#google.json<AccessAnswer>({
      what,
      host: location === undefined ? "secretmanager.googleapis.com" : `secretmanager.${location}.rep.googleapis.com`,
      path: `/v1/${path}:access`,
      absent: true,
      permission: "secretmanager.versions.access",
    }, signal);
    if (answer === undefined) return undefined;
    const bytes = bytesIn(answer, what);
    // One that was deleted and made again begins with version 1 again.
    const version = `${answer.name ?? ""} ${crc32c(bytes)}`;
    return version === known ? "unchanged" as const : { bytes, version };
  }
}

/** A payload is never empty. */
function bytesIn({ payload }: AccessAnswer, what: string): SecretContent["bytes"] {
  const bytes = bytesOf(payload?.data ?? "");
  const isWhole = payload?.dataCrc32c === undefined || Number(payload.dataCrc32c) === (bytes && crc32c(bytes));
  if (bytes && bytes.length > 0 && isWhole) return bytes;
  throw new KrunError("GoogleApiFailed", `Cannot ${what}: the answer was damaged on its way`, "try again", {
    transient: true,
  });
}

/** `undefined` for what is no base64. */
export function bytesOf(base64: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.fromBase64(base64);
  } catch {
    return undefined;
  }
}
