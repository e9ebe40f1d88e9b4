/**
 * The file that GOOGLE_APPLICATION_CREDENTIALS names. In: its text. Out: its kind and fields, every URL in it checked.
 *
 * A file may say where its credentials are to be sent. Whoever can write such a file, or choose it by a variable, must not get
 * another identity's token by that: every endpoint has to be Google's own. Where the subject's token is read from
 * (`credential_source`) is not an endpoint of Google's, and is not held to that.
 *
 * Kinds: https://cloud.google.com/docs/authentication/application-default-credentials, AIP-4110 and following.
 *
 * @module
 */
import { KrunError } from "./errors.ts";
import { isGoogleUrl } from "./google_endpoint.ts";

/** Kinds that krun takes. */
export const CREDENTIAL_KINDS = [
  "service_account",
  "authorized_user",
  "external_account",
  "external_account_authorized_user",
  "impersonated_service_account",
] as const;

/** One of {@linkcode CREDENTIAL_KINDS}. */
export type CredentialKind = (typeof CREDENTIAL_KINDS)[number];

/** A checked file. */
export interface GoogleCredentialsFile {
  readonly kind: CredentialKind;
  /** All of it, as it was written. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Whose credentials they are, where the file says so. */
  readonly email: string | undefined;
}

/** Fields without which the kind is of no use. */
const NEEDS: Readonly<Record<CredentialKind, readonly string[]>> = {
  service_account: ["client_email", "private_key"],
  authorized_user: ["client_id", "client_secret", "refresh_token"],
  external_account: ["audience", "subject_token_type", "token_url"],
  external_account_authorized_user: ["audience", "refresh_token", "token_url"],
  impersonated_service_account: ["service_account_impersonation_url"],
};

/** Fields that say where something is sent. */
const ENDPOINTS = [
  "token_uri",
  "token_url",
  "token_info_url",
  "revoke_url",
  "service_account_impersonation_url",
  "cloud_resource_manager_url",
] as const;

/**
 * Reads it.
 *
 * @throws {KrunError} `GoogleCredentialsInvalid` naming the file and the field, never a value that may be secret.
 */
export function parseGoogleCredentials(file: string, text: string): GoogleCredentialsFile {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser would quote the file.
    throw invalid(file, "it is not JSON");
  }
  return checked(file, { document, depth: 0 });
}

function checked(file: string, { document, depth }: { document: unknown; depth: number }): GoogleCredentialsFile {
  if (typeof document !== "object" || document === null || Array.isArray(document)) {
    throw invalid(file, "it is no object");
  }
  const fields = document as Readonly<Record<string, unknown>>;
  const kind = CREDENTIAL_KINDS.find((one) => one === fields.type);
  if (kind === undefined) throw invalid(file, `its type is not one of ${CREDENTIAL_KINDS.join(", ")}`);
  for (const name of NEEDS[kind]) {
    if (typeof fields[name] !== "string" || fields[name] === "") throw invalid(file, `it has no ${name}`);
  }
  if (kind === "service_account" && !/-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----/.test(String(fields.private_key))) {
    throw invalid(file, "its private_key is not a key in PEM");
  }
  // The library reads such names too, as other spellings of those that are checked here.
  const other = Object.keys(fields).find((name) => /[A-Z]/.test(name));
  if (other !== undefined) {
    const meant = ENDPOINTS.find((name) => name.replaceAll("_", "") === other.toLowerCase());
    throw invalid(file, `it spells ${meant ?? "a field"} in another way than Google does`);
  }
  const universe = fields.universe_domain ?? "googleapis.com";
  if (universe !== "googleapis.com") throw invalid(file, "its universe_domain is not googleapis.com");
  for (const name of ENDPOINTS) {
    const value = fields[name];
    if (value !== undefined && !(typeof value === "string" && isGoogleUrl(value))) {
      throw invalid(file, `its ${name} is not an address of Google's`);
    }
  }
  checkSources(file, { kind, fields, depth });
  return { kind, fields, email: emailOf(fields) };
}

function checkSources(
  file: string,
  { kind, fields, depth }: { kind: CredentialKind; fields: Readonly<Record<string, unknown>>; depth: number },
): void {
  if (
    kind === "external_account" && (typeof fields.credential_source !== "object" || fields.credential_source === null)
  ) {
    throw invalid(file, "it has no credential_source");
  }
  // What proves such a subject is a TLS connection with that certificate, which the library makes by itself: past krun's CAs and proxy.
  if (kind === "external_account" && "certificate" in (fields.credential_source as object)) {
    throw invalid(file, "its credential_source is a certificate, which krun cannot show");
  }
  if (kind !== "impersonated_service_account") return;
  if (depth > 0) throw invalid(file, "its source_credentials are impersonated themselves");
  checked(file, { document: fields.source_credentials, depth: depth + 1 });
}

function emailOf(fields: Readonly<Record<string, unknown>>): string | undefined {
  const { client_email: email, service_account_impersonation_url: url } = fields;
  if (typeof email === "string") return email;
  return impersonatedEmail(url);
}

/** The service account of an impersonation's URL. */
export function impersonatedEmail(url: unknown): string | undefined {
  return /\/serviceAccounts\/([^/:]+@[^/:]+):generate(?:AccessToken|IdToken)$/.exec(typeof url === "string" ? url : "")
    ?.[1];
}

function invalid(file: string, state: string): KrunError {
  const hint = "make it anew, with gcloud or in the console, or unset GOOGLE_APPLICATION_CREDENTIALS";
  return new KrunError("GoogleCredentialsInvalid", `Cannot use Google credentials "${file}": ${state}`, hint);
}
