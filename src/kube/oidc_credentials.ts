/**
 * Credentials of an `auth-provider` user named `oidc`: an ID token, and a refresh token that gets the next one from the issuer
 * (OpenID Connect Core 1.0, section 12; Discovery 1.0, section 4), as kubectl does it.
 *
 * Unlike kubectl, krun does not write what it gets into the kubeconfig. What client-node has for this asks the issuer again
 * before every request once the first token has expired (2.0.1), and does not load on Deno 2.6.10.
 *
 * @module
 */
import type { AuthProviderConfig, ClusterConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import { jwtClaims } from "../core/jwt.ts";
import { proxyFor } from "../core/proxy_choice.ts";
import { abortable } from "./abort.ts";
import { connectionState, credentialsOf } from "./api_error.ts";
import type { Credential, Credentials, CredentialsOptions } from "./credentials.ts";
import { denoFiles, readFailure } from "./deno_files.ts";
import { TimeLimit } from "./time_limit.ts";
import { headerFault } from "./transport.ts";

/** Options of {@linkcode OidcCredentials}. */
export interface OidcCredentialsOptions extends CredentialsOptions {
  readonly provider: AuthProviderConfig;
  /** What the user has besides. */
  readonly own: Credentials;
  /** Milliseconds since the epoch. @default {Date.now} */
  readonly nowMs?: () => number;
}

/** A token is renewed this much before its end, milliseconds, as in kubectl. */
const EARLY_MS = 10_000;
/** Milliseconds for one request to the issuer. */
const ISSUER_MS = 15_000;

interface TokenAnswer {
  readonly id_token?: unknown;
  readonly refresh_token?: unknown;
}

/** One ID token, renewed before it expires and when the server refuses it. */
export class OidcCredentials implements Credentials {
  readonly #config: ClusterConfig;
  readonly #options: OidcCredentialsOptions;
  #idToken: string | undefined;
  #refreshToken: string | undefined;
  #last: Credential | undefined;
  #running: Promise<void> | undefined;

  constructor(config: ClusterConfig, options: OidcCredentialsOptions) {
    this.#config = config;
    this.#options = options;
    this.#idToken = options.provider.config["id-token"] || undefined;
    this.#refreshToken = options.provider.config["refresh-token"] || undefined;
  }

  async current(signal?: AbortSignal): Promise<Credential> {
    if (!this.#isFresh()) await abortable(this.#renew(), signal);
    const own = await this.#options.own.current(signal);
    const headers = [...own.headers, ["authorization", `Bearer ${this.#sendable(this.#idToken!)}`] as const];
    if (String(this.#last?.headers) !== String(headers)) this.#last = { headers, certificate: own.certificate };
    return this.#last!;
  }

  async refused(used: Credential, signal?: AbortSignal): Promise<boolean> {
    if (this.#last === used) this.#idToken = undefined;
    return await this.current(signal) !== used;
  }

  #isFresh(): boolean {
    const { nowMs = Date.now } = this.#options;
    const expires = this.#idToken === undefined ? undefined : jwtClaims(this.#idToken)?.exp;
    return typeof expires === "number" && nowMs() < expires * 1000 - EARLY_MS;
  }

  /** Requests that start at once share one renewal: a refresh token may be good for one use. */
  #renew(): Promise<void> {
    return this.#running ??= this.#refresh().finally(() => this.#running = undefined);
  }

  async #refresh(): Promise<void> {
    const issuer = this.#setting("idp-issuer-url");
    if (this.#refreshToken === undefined) throw this.#fault("its id-token has expired and it has no refresh-token");
    const ca = this.#issuerCa();
    const caCerts = ca === undefined ? await this.#options.roots?.() ?? [] : [ca];
    const discovery = await this.#json(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`, { caCerts });
    const endpoint = discovery.token_endpoint;
    if (typeof endpoint !== "string") throw this.#fault("its issuer names no token_endpoint");
    const answer: TokenAnswer = await this.#json(endpoint, { caCerts, form: this.#form(discovery) });
    if (typeof answer.id_token !== "string") throw this.#fault("its issuer gave no id_token for the refresh token");
    this.#idToken = this.#sendable(answer.id_token);
    if (typeof answer.refresh_token === "string" && answer.refresh_token !== this.#refreshToken) {
      this.#refreshToken = answer.refresh_token;
      // Many issuers take a refresh token once. kubectl would write the new one down; this file is not krun's.
      this.#options.log.warn("the issuer gave a new refresh token, which krun does not write into the kubeconfig", {
        kubeconfig: this.#config.source.where,
        user: this.#config.source.user,
      });
    }
  }

  #form(discovery: Record<string, unknown>): Form {
    const { "client-secret": secret } = this.#options.provider.config;
    const id = this.#setting("client-id");
    const body = new URLSearchParams({ grant_type: "refresh_token", refresh_token: this.#refreshToken ?? "" });
    const methods = discovery.token_endpoint_auth_methods_supported ?? ["client_secret_basic"];
    if (secret && Array.isArray(methods) && methods.includes("client_secret_basic")) {
      // RFC 6749, section 2.3.1: both are form-encoded first.
      return { body, authorization: `Basic ${btoa(`${formEncoded(id)}:${formEncoded(secret)}`)}` };
    }
    body.set("client_id", id);
    if (secret) body.set("client_secret", secret);
    return { body, authorization: undefined };
  }

  async #json(url: string, { caCerts, form }: IssuerRequest): Promise<Record<string, unknown>> {
    const { lifetime, proxy = {} } = this.#options;
    const limit = new TimeLimit(ISSUER_MS, lifetime);
    try {
      const proxyUrl = URL.canParse(url) ? proxyFor(new URL(url), proxy) : undefined;
      using client = Deno.createHttpClient({ caCerts: [...caCerts], ...(proxyUrl && { proxy: { url: proxyUrl } }) });
      const response = await fetch(url, {
        client,
        signal: limit.signal,
        ...(form ? { method: "POST", body: form.body } : {}),
        headers: { accept: "application/json", ...(form?.authorization ? { authorization: form.authorization } : {}) },
      });
      const text = await response.text();
      if (!response.ok) throw this.#fault(`its issuer answers ${url} with ${response.status}${oauthError(text)}`);
      return objectIn(text) ?? {};
    } catch (cause) {
      if (cause instanceof KrunError || lifetime.aborted) throw cause;
      const words = cause instanceof Error ? connectionState(cause) : String(cause);
      throw this.#fault(`its issuer cannot be reached: ${limit.expired ? "no answer" : words}`, {
        cause,
        transient: true,
      });
    } finally {
      limit.clear();
    }
  }

  #sendable(token: string): string {
    const state = headerFault(token);
    if (state !== undefined) throw this.#fault(`its id-token cannot be sent: ${state}`);
    return token;
  }

  #issuerCa(): string | undefined {
    const { "idp-certificate-authority-data": data, "idp-certificate-authority": file } = this.#options.provider.config;
    try {
      if (data) return atob(data);
      return file ? (this.#options.files ?? denoFiles).textSync(file) : undefined;
    } catch (cause) {
      const state = data
        ? "its idp-certificate-authority-data is not base64"
        : `its idp-certificate-authority "${file}": ${readFailure(cause)}`;
      throw this.#fault(state, { cause });
    }
  }

  #setting(key: string): string {
    const value = this.#options.provider.config[key];
    if (!value) throw this.#fault(`its auth-provider has no ${key}`);
    return value;
  }

  #fault(state: string, options: { cause?: unknown; transient?: boolean } = {}): KrunError {
    const message = `Cannot get an ID token for ${credentialsOf(this.#config.source)}: ${state}`;
    return new KrunError("CredentialsUnavailable", message, "log in again as kubectl's user does", options);
  }
}

interface Form {
  readonly body: URLSearchParams;
  readonly authorization: string | undefined;
}

interface IssuerRequest {
  readonly caCerts: readonly string[];
  readonly form?: Form;
}

function formEncoded(text: string): string {
  return new URLSearchParams({ "": text }).toString().slice(1);
}

/** The error code of an OAuth answer (RFC 6749, section 5.2), which holds no secret; its other words might. */
function oauthError(text: string): string {
  const error = objectIn(text)?.error;
  return typeof error === "string" ? ` ${error.slice(0, 80)}` : "";
}

function objectIn(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined;
  } catch {
    return undefined;
  }
}
