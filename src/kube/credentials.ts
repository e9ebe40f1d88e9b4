/**
 * How krun proves who it is to the API server. In: the user of a {@linkcode ClusterConfig}. Out: the headers and the client
 * certificate of the next request, fresh at any time.
 *
 * @module
 */
import type { ClusterConfig, Impersonation, PemSource, UserConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import type { Logger } from "../core/log.ts";
import type { ProxySettings } from "../core/proxy_choice.ts";
import { credentialsOf } from "./api_error.ts";
import { denoFiles, readFailure } from "./deno_files.ts";
import { type ClientCertificate, headerFault, type HeaderLines } from "./transport.ts";

/** What one request proves itself by. */
export interface Credential {
  readonly headers: HeaderLines;
  /** The same object as long as it is the same certificate. */
  readonly certificate: ClientCertificate | undefined;
}

/** A source of credentials that keeps them fresh. */
export interface Credentials {
  /**
   * What to use now.
   *
   * @throws {KrunError} `CredentialsUnavailable`, `RuntimeTooOld`
   */
  current(signal?: AbortSignal): Promise<Credential>;
  /** The server answered 401 to `used`. True when there is another one by now, so that a second try makes sense. */
  refused(used: Credential, signal?: AbortSignal): Promise<boolean>;
}

/** What credentials may need from outside. */
export interface CredentialsOptions {
  readonly log: Logger;
  /** Ends what still runs for the credentials: a plugin, a request to an issuer. */
  readonly lifetime: AbortSignal;
  /** Environment of an exec plugin. @default {krun's own} */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Milliseconds of a clock that never goes back. @default {performance.now} */
  readonly elapsedMs?: () => number;
  /** Reads the files that the user names. @default {Deno's} */
  readonly files?: FileReader | undefined;
  /** Proxies of krun's environment, for an issuer. @default {none} */
  readonly proxy?: ProxySettings | undefined;
  /** As in `ClusterRequest`. */
  readonly roots?: (() => Promise<readonly string[]>) | undefined;
}

/** How old a file's content may be, milliseconds. The kubelet renews a token long before it ends. */
const FILES_FRESH_MS = 1000;

/** Options of {@linkcode FileCredentials}. */
export type FileCredentialsOptions = Pick<CredentialsOptions, "log" | "elapsedMs" | "files">;

/** Tokens and certificates that stand in the kubeconfig or in files, which are read again when they may have changed. */
export class FileCredentials implements Credentials {
  readonly #config: ClusterConfig;
  readonly #log: Logger;
  readonly #elapsedMs: () => number;
  readonly #files: FileReader;
  readonly #hasFiles: boolean;
  #last: { credential: Credential; atMs: number } | undefined;

  constructor(config: ClusterConfig, options: FileCredentialsOptions) {
    const { log, elapsedMs = () => performance.now(), files = denoFiles } = options;
    this.#config = config;
    this.#files = files;
    this.#log = log;
    this.#elapsedMs = elapsedMs;
    this.#hasFiles = filesOf(config.user).length > 0;
  }

  // deno-lint-ignore require-await -- what it throws must reject
  async current(): Promise<Credential> {
    const fresh = this.#last && (!this.#hasFiles || this.#elapsedMs() - this.#last.atMs < FILES_FRESH_MS);
    return fresh ? this.#last!.credential : this.#read();
  }

  refused(used: Credential): Promise<boolean> {
    return Promise.resolve(this.#hasFiles && this.#read() !== used);
  }

  /** The same object as before when nothing has changed. A file that cannot be read now leaves what was read last. */
  #read(): Credential {
    const { user, source } = this.#config;
    let next: Credential;
    try {
      next = { headers: headersOf(user, this.#files), certificate: certificateOf(user, this.#files) };
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      const { message, hint, cause } = error;
      if (!this.#last) {
        const words = `Cannot read the credentials of ${credentialsOf(source)}: ${message}`;
        throw new KrunError("CredentialsUnavailable", words, hint, { cause });
      }
      this.#log.warn("credentials cannot be read again", { error: message });
      next = this.#last.credential;
    }
    const before = this.#last?.credential;
    const credential = before && sameCredential(before, next) ? before : keepCertificate(before, next);
    this.#last = { credential, atMs: this.#elapsedMs() };
    return credential;
  }
}

/** Headers by which a user is impersonated; what an exec or OIDC user is still allowed to say. */
function impersonationHeaders(impersonate: Impersonation | undefined): HeaderLines {
  if (!impersonate) return [];
  const { user, uid, groups, extra } = impersonate;
  return [
    ["impersonate-user", sendable(user, "as")],
    ...(uid === undefined ? [] : [["impersonate-uid", sendable(uid, "as-uid")]] as const),
    ...groups.map((group) => ["impersonate-group", sendable(group, "as-groups")] as const),
    ...Object.entries(extra).flatMap(([key, values]) =>
      values.map((value) => [`impersonate-extra-${headerKey(key)}`, sendable(value, "as-user-extra")] as const)
    ),
  ];
}

/** As client-go: whatever a header's name cannot hold is percent-encoded. */
function headerKey(key: string): string {
  const encoded = encodeURIComponent(key.toWellFormed()).replaceAll("(", "%28").replaceAll(")", "%29");
  return encoded.toLowerCase();
}

/** A source of credentials that cannot be used, in words for a person, without its content. */
class SourceError extends Error {
  constructor(message: string, readonly hint: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/** Refuses what no header can carry before the runtime does, which would quote it. @throws {SourceError} */
function sendable(value: string, what: string): string {
  const state = headerFault(value);
  if (state === undefined) return value;
  throw new SourceError(`${what}: ${state}`, `write ${what} again, as plain text on one line`);
}

function headersOf(user: UserConfig, files: FileReader): HeaderLines {
  const token = tokenOf(user, files);
  const lines = [...impersonationHeaders(user.impersonate)];
  if (token !== undefined) lines.push(["authorization", `Bearer ${token}`]);
  if (user.basic) lines.push(["authorization", `Basic ${base64(`${user.basic.username}:${user.basic.password}`)}`]);
  return lines;
}

function tokenOf({ token, tokenFile }: UserConfig, files: FileReader): string | undefined {
  if (tokenFile === undefined) return token === undefined ? undefined : sendable(token, "token");
  const what = `token file "${tokenFile}"`;
  const text = readable(what, () => files.textSync(tokenFile)).trim();
  if (text === "") throw new SourceError(`${what}: it is empty`, "write a token into it");
  return sendable(text, what);
}

function certificateOf({ certificate }: UserConfig, files: FileReader): ClientCertificate | undefined {
  if (certificate === undefined) return undefined;
  const read = (pem: PemSource, kind: string) =>
    readable("file" in pem ? `${kind} "${pem.file}"` : kind, () => pemOf(pem, files));
  return { cert: read(certificate.certificate, "client-certificate"), key: read(certificate.key, "client-key") };
}

/** @throws {SourceError} when `read` fails, with the name of what it was to read. */
function readable(what: string, read: () => string): string {
  try {
    return read();
  } catch (cause) {
    throw new SourceError(`${what}: ${readFailure(cause)}`, `make ${what} readable`, { cause });
  }
}

/** PEM text of a source. @throws what reading a file throws. */
export function pemOf(source: PemSource, files: FileReader): string {
  return "pem" in source ? source.pem : files.textSync(source.file);
}

function filesOf({ tokenFile, certificate }: UserConfig): string[] {
  const pems = certificate ? [certificate.certificate, certificate.key] : [];
  const files = pems.flatMap((pem) => "file" in pem ? [pem.file] : []);
  return tokenFile === undefined ? files : [tokenFile, ...files];
}

function sameCredential(a: Credential, b: Credential): boolean {
  return sameCertificate(a.certificate, b.certificate) && String(a.headers) === String(b.headers);
}

function sameCertificate(a: ClientCertificate | undefined, b: ClientCertificate | undefined): boolean {
  return a?.cert === b?.cert && a?.key === b?.key;
}

/** A new token does not make a certificate, and so a connection, new. */
function keepCertificate(before: Credential | undefined, next: Credential): Credential {
  return sameCertificate(before?.certificate, next.certificate) ? { ...next, certificate: before?.certificate } : next;
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
