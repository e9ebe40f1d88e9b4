/**
 * The account that GOOGLE_APPLICATION_CREDENTIALS names: keys, federation, impersonation, a person's log-in. By google-auth-library,
 * loaded for such an account alone (docs/decisions.md); the file is checked before it sees it (`core/google_credentials_file.ts`),
 * and every request that it makes goes out by krun's own rules of CAs and proxies.
 *
 * @module
 */
import type { AuthClient, IdentityPoolClientOptions } from "google-auth-library";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import {
  type GoogleCredentialsFile,
  impersonatedEmail,
  parseGoogleCredentials,
} from "../core/google_credentials_file.ts";
import { parseGoogleFailure } from "../core/google_error.ts";
import { isGoogleUrl } from "../core/google_endpoint.ts";
import { isProject } from "../core/google_resource.ts";
import type { GoogleToken, GoogleTokenRequest } from "../core/google_token.ts";
import { denoFiles, readFailure } from "../kube/deno_files.ts";
import { loadPackage } from "../kube/package.ts";
import { headerFault } from "../kube/transport.ts";
import { ImpersonatedAccount } from "./federated_account.ts";
import { GoogleAccount, type TokenSource } from "./google_account.ts";
import type { GoogleHttp, GoogleTry } from "./google_http.ts";
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
    const source = kind === "impersonated_service_account"
      ? parseGoogleCredentials(this.#options.file, JSON.stringify(fields.source_credentials))
      : { kind, fields: direct };
    if (url === undefined) return await this.#direct(source, request);
    const email = impersonatedEmail(url);
    if (email === undefined) throw this.#fault("use them", "their service_account_impersonation_url names no account");
    const through = new GoogleAccount({
      describe: this.describe,
      token: (inner) => this.#direct(source, inner),
      email: () => Promise.resolve(undefined),
    }, { http: this.#options.http });
    const { token_lifetime_seconds: lifetimeSeconds } = (how ?? {}) as { token_lifetime_seconds?: number };
    const delegates = Array.isArray(fields.delegates) ? fields.delegates.map(String) : [];
    return await new ImpersonatedAccount(email, { through, delegates, lifetimeSeconds }).token(request, options);
  }

  async email(): Promise<string | undefined> {
    return (await this.#read()).email;
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
    return parseGoogleCredentials(file, text);
  }

  async #direct({ kind, fields }: Direct, request: GoogleTokenRequest): Promise<GoogleToken> {
    const library = await loadPackage("google-auth-library", loadLibrary);
    const scopes = request.kind === "access" ? [...request.scopes] : [];
    const client = await this.#said("use them", () => {
      return Promise.resolve(
        clientOf(library, { kind, fields: { ...fields, scopes, transporter: this.#transporter(library) } }),
      );
    });
    if (request.kind === "identity") {
      if (!(client instanceof library.JWT)) {
        throw this.#fault("get an ID token", `Google gives none to a ${kind} by itself`);
      }
      const token = idToken(await this.#said("get an ID token", () => client.fetchIdToken(request.audience)));
      return token ?? this.#none("an ID token");
    }
    const { token } = await this.#said("get an access token", () => client.getAccessToken());
    if (!token || headerFault(token) !== undefined) this.#none("an access token");
    return { token, expiresAtMs: expiryOf(client) ?? Date.now() + DEFAULT_LIFE_MS };
  }

  /** What the library sends its requests by. */
  #transporter(library: Library): Transporter {
    const { http } = this.#options;
    const fetchImplementation = async (input: string | URL | Request, init: RequestInit = {}) => {
      const url = new URL(input instanceof Request ? input.url : input);
      const isPost = init.method?.toUpperCase() === "POST";
      // Where a subject's token comes from is the file's to say; where something is sent to is not.
      if (isPost && !isGoogleUrl(url.href)) throw new TypeError(`${url.host} is no host of Google's`);
      const { headers = {}, body = null, signal } = init;
      // It knows which type a form has.
      const request = new Request(url, isPost ? { method: "POST", headers, body } : { headers });
      const { status, text, header } = await http.raw(url, {
        method: isPost ? "POST" : "GET",
        headers: [...request.headers],
        ...(isPost && { body: await request.text() }),
        ...(signal && { signal }),
      });
      const type = header("content-type") ?? "application/json";
      return new Response(status === 204 ? null : text, { status, headers: { "content-type": type } });
    };
    return new library.gaxios.Gaxios({ fetchImplementation });
  }

  /** The words of a failure without what was sent. */
  async #said<T>(what: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (cause) {
      if (cause instanceof KrunError) throw cause;
      const { status, response, message = String(cause) } = cause as LibraryError;
      const isTransient = typeof status === "number"
        ? status === 429 || status >= 500
        : /connect|timed? ?out/i.test(message);
      const answer = typeof response?.data === "string" ? response.data : JSON.stringify(response?.data ?? "");
      const state = response === undefined
        ? message.replaceAll(/\s+/g, " ").slice(0, 300)
        : parseGoogleFailure(answer).message;
      throw this.#fault(what, state, { cause, transient: isTransient });
    }
  }

  #none(what: string): never {
    throw this.#fault(`get ${what}`, "Google gave none");
  }

  #fault(what: string, state: string, options: { cause?: unknown; transient?: boolean } = {}): KrunError {
    const message = `Cannot ${what} with Google credentials "${this.#options.file}": ${state}`;
    return new KrunError("GoogleCredentialsUnavailable", message, "renew these credentials", options);
  }
}

/** What the library throws. */
interface LibraryError {
  readonly status?: unknown;
  readonly message?: string;
  readonly response?: { readonly data?: unknown };
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
