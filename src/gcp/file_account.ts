/**
 * The account that GOOGLE_APPLICATION_CREDENTIALS names: keys, federation, impersonation, a person's log-in. By google-auth-library,
 * loaded for such an account alone (docs/decisions.md); the file is checked before it sees it (`core/google_credentials_file.ts`),
 * and every request that it makes goes out by krun's own rules of CAs and proxies.
 *
 * @module
 */
import type { AuthClient, IdentityPoolClientOptions } from "google-auth-library";
import { answerLimitMs } from "../core/answer_limit.ts";
import { credentialsFailure, type SubjectSource } from "../core/credentials_failure.ts";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import {
  type GoogleCredentialsFile,
  impersonatedEmail,
  parseGoogleCredentials,
} from "../core/google_credentials_file.ts";
import { isProject } from "../core/google_resource.ts";
import type { GoogleToken, GoogleTokenRequest } from "../core/google_token.ts";
import { abortable } from "../kube/abort.ts";
import { denoFiles, readFailure } from "../kube/deno_files.ts";
import { loadPackage } from "../kube/package.ts";
import { TimeLimit } from "../kube/time_limit.ts";
import { headerFault } from "../kube/transport.ts";
import { ImpersonatedAccount, WORKLOAD_USER } from "./federated_account.ts";
import { GoogleAccount, type TokenSource } from "./google_account.ts";
import type { GoogleHttp, GoogleTry } from "./google_http.ts";
import { LibraryExchange } from "./library_exchange.ts";
import { idToken } from "./metadata_server.ts";

/** Options of {@linkcode FileAccount}. */
export interface FileAccountOptions {
  /** Absolute path. */
  readonly file: string;
  readonly http: GoogleHttp;
  /** Reads the file. @default {Deno's} */
  readonly files?: FileReader | undefined;
}

type Library = typeof import("google-auth-library");

/** In the bundle of the binary, a package that is no module is in `default` alone. */
async function loadLibrary(): Promise<Library> {
  const loaded = await import("google-auth-library") as Library | { default: Library };
  return "JWT" in loaded ? loaded : loaded.default;
}

/** A kind that proves itself, without standing for another account. */
type Direct = Pick<GoogleCredentialsFile, "kind" | "fields">;

/** Its tokens. The file is read anew for each: whoever renews it need not start krun again. */
export class FileAccount implements TokenSource {
  /** As IAM names it; known from the first look into the file on. */
  member: string | undefined;
  readonly #options: FileAccountOptions;

  constructor(options: FileAccountOptions) {
    this.#options = options;
  }

  get describe(): string {
    return `the account of ${this.#options.file}`;
  }

  async token(request: GoogleTokenRequest, options: GoogleTry): Promise<GoogleToken> {
    const { kind, fields } = await this.#read();
    const { service_account_impersonation_url: url, service_account_impersonation: how, ...direct } = fields;
    const source: Direct & Partial<GoogleCredentialsFile> = kind === "impersonated_service_account"
      ? parseGoogleCredentials(this.#options.file, JSON.stringify(fields.source_credentials))
      : { kind, fields: direct };
    if (url === undefined) return await this.#direct(source, { request, options });
    const email = impersonatedEmail(url);
    if (email === undefined) {
      throw this.#fault("get an access token", "their service_account_impersonation_url names no account");
    }
    const through = new GoogleAccount({
      describe: this.describe,
      member: source.email,
      token: (inner, how) => this.#direct(source, { request: inner, options: how }),
      email: () => Promise.resolve(undefined),
    }, { http: this.#options.http });
    const { token_lifetime_seconds: lifetimeSeconds } = (how ?? {}) as { token_lifetime_seconds?: number };
    const delegates = Array.isArray(fields.delegates) ? fields.delegates.map(String) : [];
    const role = kind === "external_account" ? WORKLOAD_USER : undefined;
    return await new ImpersonatedAccount(email, { through, role, delegates, lifetimeSeconds }).token(request, options);
  }

  async email(): Promise<string | undefined> {
    return (await this.#read()).email;
  }

  /** The project that the file is of; `undefined` where it does not say it. */
  async project(): Promise<string | undefined> {
    const { project_id: own, quota_project_id: quota } = (await this.#read()).fields;
    return [own, quota].find((project) => typeof project === "string" && isProject(project)) as string | undefined;
  }

  async quotaProject(): Promise<string | undefined> {
    const { quota_project_id: project } = (await this.#read()).fields;
    return typeof project === "string" && isProject(project) ? project : undefined;
  }

  async #read(): Promise<GoogleCredentialsFile> {
    const { file, files = denoFiles } = this.#options;
    let text: string;
    try {
      text = await files.text(file);
    } catch (cause) {
      const message = `Cannot read Google credentials "${file}": ${readFailure(cause)}`;
      const hint = "set GOOGLE_APPLICATION_CREDENTIALS to a file that can be read, or unset it";
      throw new KrunError("GoogleCredentialsInvalid", message, hint, { cause });
    }
    const parsed = parseGoogleCredentials(file, text);
    this.member = parsed.email;
    return parsed;
  }

  async #direct(
    { kind, fields }: Direct,
    { request, options }: { request: GoogleTokenRequest; options: GoogleTry },
  ): Promise<GoogleToken> {
    const what = request.kind === "identity" ? "get an ID token" : "get an access token";
    const deadlineMs = options.deadlineMs ?? Date.now() + USUAL_MS;
    const exchange = new LibraryExchange({
      http: this.#options.http,
      what: this.#said(what),
      identity: this.describe,
      deadlineMs,
    });
    // What is no request has no limit of its own: an executable.
    const limit = new TimeLimit(answerLimitMs(LIMIT_MS, { deadlineMs, nowMs: Date.now() }) + LATER_MS, options.signal);
    try {
      return await abortable(this.#asked({ kind, fields }, { request, exchange }), limit.signal);
    } catch (cause) {
      options.signal?.throwIfAborted();
      if (exchange.failure !== undefined) throw exchange.failure;
      if (cause instanceof KrunError) throw cause;
      if (limit.expired) throw this.#fault(what, "there is no answer within the time for a start", { transient: true });
      // Without the cause: a log of it would quote what it quotes.
      throw this.#fault(what, credentialsFailure(cause, { kind, source: sourceOf(fields) }));
    } finally {
      limit.clear();
    }
  }

  async #asked(
    { kind, fields }: Direct,
    { request, exchange }: { request: GoogleTokenRequest; exchange: LibraryExchange },
  ): Promise<GoogleToken> {
    const library = await loadPackage("google-auth-library", loadLibrary);
    const scopes = request.kind === "access" ? [...request.scopes] : [];
    const transporter = new library.gaxios.Gaxios({ fetchImplementation: exchange.fetch });
    const client = clientOf(library, { kind, fields: { ...fields, scopes, transporter } });
    if (request.kind === "identity") {
      if (!(client instanceof library.JWT)) {
        throw this.#fault("get an ID token", `Google gives none to credentials of type ${kind} by themselves`, {
          hint: "set KRUN_GOOGLE_ACCOUNT to the e-mail address of a service account that they may stand for",
        });
      }
      return idToken(await client.fetchIdToken(request.audience)) ?? this.#none("an ID token");
    }
    const { token } = await client.getAccessToken();
    if (!token || headerFault(token) !== undefined) this.#none("an access token");
    return { token, expiresAtMs: expiryOf(client) ?? Date.now() + DEFAULT_LIFE_MS };
  }

  #none(what: string): never {
    throw this.#fault(`get ${what}`, "Google gave none");
  }

  #said(what: string): string {
    return `${what} with Google credentials "${this.#options.file}"`;
  }

  #fault(
    what: string,
    state: string,
    { hint = "correct that file, or what it names", ...options }: { transient?: boolean; hint?: string } = {},
  ): KrunError {
    return new KrunError("GoogleCredentialsUnavailable", `Cannot ${this.#said(what)}: ${state}`, hint, options);
  }
}

/** How long a token may take at most, milliseconds. */
const LIMIT_MS = 120_000;
/** The same where nobody says a deadline. */
const USUAL_MS = 30_000;
/** A request that fails at the deadline says more than the deadline itself. Milliseconds. */
const LATER_MS = 1_000;

/** Where an external account's subject is proved; `undefined` for other kinds. */
function sourceOf({ credential_source: source }: Direct["fields"]): SubjectSource | undefined {
  if (typeof source !== "object" || source === null) return undefined;
  if ("environment_id" in source) return "aws";
  if ("executable" in source) return "executable";
  return "url" in source ? "url" : "file";
}

/** Where Google says nothing of a token's life. */
const DEFAULT_LIFE_MS = 3_600_000;

type Transporter = InstanceType<Library["gaxios"]["Gaxios"]>;

/** What the library's clients take: the file's fields, scopes, and what they send requests by. */
type ClientFields = Readonly<Record<string, unknown>> & {
  readonly scopes: string[];
  readonly transporter: Transporter;
};

/** By the classes themselves: `fromJSON` warns on standard error of files that nobody has checked. */
function clientOf(library: Library, { kind, fields }: { kind: Direct["kind"]; fields: ClientFields }): AuthClient {
  const { scopes, transporter } = fields;
  const text = (name: string) => fields[name] as string;
  switch (kind) {
    case "service_account":
      return new library.JWT({
        ...{ email: text("client_email"), key: text("private_key"), keyId: text("private_key_id") },
        ...{ scopes, transporter },
      });
    case "authorized_user":
      return new library.UserRefreshClient({
        ...{ clientId: text("client_id"), clientSecret: text("client_secret"), refreshToken: text("refresh_token") },
        transporter,
      });
    case "external_account_authorized_user":
      return adopted(
        new library.ExternalAccountAuthorizedUserClient(fields as unknown as AuthorizedUserOptions),
        transporter,
      );
    default:
      return adopted(externalClient(library, fields), transporter);
  }
}

type AuthorizedUserOptions = ConstructorParameters<Library["ExternalAccountAuthorizedUserClient"]>[0];

function externalClient(library: Library, fields: ClientFields): AuthClient {
  const source = fields.credential_source as Readonly<Record<string, unknown>>;
  const options = fields as unknown as IdentityPoolClientOptions;
  if (source.environment_id) return new library.AwsClient(options as ConstructorParameters<Library["AwsClient"]>[0]);
  if (source.executable) {
    return new library.PluggableAuthClient(options as ConstructorParameters<Library["PluggableAuthClient"]>[0]);
  }
  return new library.IdentityPoolClient(options);
}

/** The exchange of such a client has a transporter of its own, in which its constructor gives nobody a say (11.3.4). */
function adopted(client: AuthClient, transporter: Transporter): AuthClient {
  for (const exchange of Object.values(client)) {
    if (typeof exchange === "object" && exchange !== null && "transporter" in exchange) {
      exchange.transporter = transporter;
    }
  }
  return client;
}

/** An external account keeps token and end in a place of its own. */
function expiryOf(client: AuthClient): number | undefined {
  const { cachedAccessToken } = client as { cachedAccessToken?: { expiry_date?: number | null } | null };
  return cachedAccessToken?.expiry_date ?? client.credentials.expiry_date ?? undefined;
}
