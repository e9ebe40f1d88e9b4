/**
 * Workload identity federation: a Kubernetes service account's token is exchanged at Google's Security Token Service, and the
 * answer, where a Google service account is named, for that account's tokens at IAM Credentials. And impersonation alone, from
 * any account.
 *
 * Sources: https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token,
 * https://cloud.google.com/iam/docs/reference/credentials/rest.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { workloadMember, type WorkloadProvider } from "../core/google_resource.ts";
import { CLOUD_PLATFORM, type GoogleToken, type GoogleTokenRequest } from "../core/google_token.ts";
import { headerFault } from "../kube/transport.ts";
import type { GoogleAccount, TokenSource } from "./google_account.ts";
import type { GoogleHttp, GoogleTry } from "./google_http.ts";
import { idToken } from "./metadata_server.ts";

/** Options of {@linkcode FederatedAccount}. */
export interface FederatedAccountOptions {
  readonly http: GoogleHttp;
  readonly provider: WorkloadProvider;
  /** `namespace/name` of the Kubernetes service account, for a person. */
  readonly subject: string;
  /** A token of that service account for an audience. */
  subjectToken(audience: string, options: GoogleTry): Promise<string>;
}

/** The federated identity itself. It has no e-mail address, and no ID tokens. */
export class FederatedAccount implements TokenSource {
  readonly #options: FederatedAccountOptions;

  constructor(options: FederatedAccountOptions) {
    this.#options = options;
  }

  get describe(): string {
    return `service account ${this.#options.subject} by workload identity federation`;
  }

  get member(): string {
    return workloadMember(this.#options.provider, this.#options.subject);
  }

  async token(request: GoogleTokenRequest, options: GoogleTry): Promise<GoogleToken> {
    const { http, provider, subject } = this.#options;
    if (request.kind === "identity") throw noIdToken(subject);
    const token = await this.#options.subjectToken(provider.tokenAudience, options);
    const answer = await http.json<Record<string, unknown>>({
      ...options,
      what: `exchange the token of service account "${subject}"`,
      host: "sts.googleapis.com",
      path: "/v1/token",
      body: {
        grantType: "urn:ietf:params:oauth:grant-type:token-exchange",
        requestedTokenType: "urn:ietf:params:oauth:token-type:access_token",
        subjectTokenType: "urn:ietf:params:oauth:token-type:jwt",
        audience: provider.stsAudience,
        scope: request.scopes.join(" "),
        subjectToken: token,
      },
      identity: this.describe,
    });
    const { access_token, expires_in } = answer ?? {};
    return sound(access_token, Date.now() + Number(expires_in) * 1000, "sts.googleapis.com");
  }

  email(): Promise<string | undefined> {
    return Promise.resolve(undefined);
  }
}

/** The role on a Google service account that lets a workload identity stand for it. */
export const WORKLOAD_USER = "roles/iam.workloadIdentityUser";

/** Options of {@linkcode ImpersonatedAccount}. */
export interface ImpersonatedAccountOptions {
  /** Who may stand for it. */
  readonly through: GoogleAccount;
  /** The role that lets it: workload identities have one of their own. @default {roles/iam.serviceAccountTokenCreator} */
  readonly role?: string | undefined;
  /** Accounts between the two, each of which may stand for the next. @default {none} */
  readonly delegates?: readonly string[];
  /** Seconds of life to ask for. @default {3600} */
  readonly lifetimeSeconds?: number | undefined;
}

/** A Google service account, through another identity that may stand for it. */
export class ImpersonatedAccount implements TokenSource {
  readonly describe: string;
  readonly #email: string;
  readonly #options: ImpersonatedAccountOptions;

  /** @param email of the account whose tokens are wanted */
  constructor(email: string, options: ImpersonatedAccountOptions) {
    this.#email = email;
    this.#options = options;
    this.describe = `Google service account ${email}`;
  }

  async token(request: GoogleTokenRequest, options: GoogleTry): Promise<GoogleToken> {
    const { through, delegates = [], lifetimeSeconds = 3600 } = this.#options;
    const host = "iamcredentials.googleapis.com";
    const path = `/v1/projects/-/serviceAccounts/${encodeURIComponent(this.#email)}`;
    const { role = "roles/iam.serviceAccountTokenCreator" } = this.#options;
    const common = { host, scopes: [CLOUD_PLATFORM], grant: { role, on: this.#email } };
    if (request.kind === "identity") {
      const answer = await through.json<{ token?: unknown }>({
        ...common,
        what: `get an ID token of Google service account "${this.#email}"`,
        path: `${path}:generateIdToken`,
        body: { audience: request.audience, includeEmail: true, delegates: delegates.map(resourceName) },
        permission: "iam.serviceAccounts.getOpenIdToken",
      }, options);
      const token = idToken(String(answer?.token ?? ""));
      if (token === undefined) throw unsound(host);
      return token;
    }
    const answer = await through.json<{ accessToken?: unknown; expireTime?: unknown }>({
      ...common,
      what: `get an access token of Google service account "${this.#email}"`,
      path: `${path}:generateAccessToken`,
      body: { scope: request.scopes, lifetime: `${lifetimeSeconds}s`, delegates: delegates.map(resourceName) },
      permission: "iam.serviceAccounts.getAccessToken",
    }, options);
    return sound(answer?.accessToken, Date.parse(String(answer?.expireTime)), host);
  }

  email(): Promise<string | undefined> {
    return Promise.resolve(this.#email);
  }
}

function resourceName(delegate: string): string {
  return delegate.startsWith("projects/") ? delegate : `projects/-/serviceAccounts/${delegate}`;
}

function sound(token: unknown, expiresAtMs: number, host: string): GoogleToken {
  const isSound = typeof token === "string" && token !== "" && headerFault(token) === undefined;
  if (!isSound || !(expiresAtMs > 0)) throw unsound(host);
  return { token, expiresAtMs };
}

function unsound(host: string): KrunError {
  return new KrunError("GoogleApiFailed", `Cannot get a token at ${host}: the answer holds none`, "try again later", {
    transient: true,
  });
}

function noIdToken(subject: string): KrunError {
  return new KrunError(
    "GoogleCredentialsUnavailable",
    `Cannot get an ID token for service account "${subject}": Google gives none to a federated identity`,
    "name a Google service account for it: annotation iam.gke.io/gcp-service-account, or KRUN_GOOGLE_ACCOUNT",
  );
}
