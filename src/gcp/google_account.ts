/**
 * Somebody who can prove to Google who it is. The one place that gives an access token for scopes, or an ID token for an audience,
 * and the one way to ask an API with it.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { GrantedToken } from "../core/cluster.ts";
import {
  DEFAULT_SCOPES,
  freshUntilMs,
  type GoogleToken,
  googleTokenId,
  type GoogleTokenRequest,
  type GoogleTokens,
} from "../core/google_token.ts";
import { abortable } from "../kube/abort.ts";
import type { GoogleCall, GoogleHttp, GoogleRequest, GoogleTry } from "./google_http.ts";

/** Where tokens come from, asked each time. */
export interface TokenSource {
  /**
   * A new token.
   *
   * @throws {KrunError} `GoogleCredentialsUnavailable`, `GoogleForbidden`, `GoogleApiFailed`
   */
  token(request: GoogleTokenRequest, options: GoogleTry): Promise<GoogleToken>;
  /** The e-mail address, or another name by which Google knows it; `undefined` where that cannot be known. */
  email(options: GoogleTry): Promise<string | undefined>;
  /** Project whose quota its requests count to. @default {its own} */
  quotaProject?(): Promise<string | undefined>;
  /** As a person would find it: `the metadata server's service account`. */
  readonly describe: string;
  /** As IAM names it where a role is granted to it: an e-mail address, a principal. Unset while that is not known. */
  readonly member?: string | undefined;
}

interface Held {
  readonly token: GoogleToken;
  readonly untilMs: number;
}

/** Options of {@linkcode GoogleAccount}. */
export interface GoogleAccountOptions {
  readonly http: GoogleHttp;
  /** Milliseconds since the epoch. @default {Date.now} */
  readonly nowMs?: () => number;
}

/** A request to an API as an account. */
export type AccountRequest = GoogleRequest & { readonly scopes?: readonly string[] };

/** An account whose tokens are kept until 5 minutes before they end. Requests for one token share one. */
export class GoogleAccount implements GoogleTokens {
  readonly #source: TokenSource;
  readonly #http: GoogleHttp;
  readonly #nowMs: () => number;
  readonly #held = new Map<string, Held>();
  readonly #running = new Map<string, Promise<GoogleToken>>();
  #email: Promise<string | undefined> | undefined;
  /** What came of it. */
  #knownEmail: string | undefined;

  constructor(source: TokenSource, { http, nowMs = Date.now }: GoogleAccountOptions) {
    this.#source = source;
    this.#http = http;
    this.#nowMs = nowMs;
  }

  /** As a person would find it. */
  get describe(): string {
    return this.#source.describe;
  }

  /** As IAM names it; `undefined` while that is not known. */
  get member(): string | undefined {
    return this.#knownEmail ?? this.#source.member;
  }

  /** Its e-mail address, asked once; a failure is not kept. @throws as the source */
  email(options: GoogleTry = {}): Promise<string | undefined> {
    this.#email ??= this.#source.email(options).then((email) => this.#knownEmail = email, (error) => {
      this.#email = undefined;
      throw error;
    });
    return abortable(this.#email, options.signal);
  }

  /** An access token for scopes, kept as long as it is fresh. @throws as {@linkcode TokenSource.token} */
  async accessToken(scopes: readonly string[] = DEFAULT_SCOPES, options: GoogleTry = {}): Promise<GoogleToken> {
    return await this.token({ kind: "access", scopes }, options);
  }

  /** A token, kept as long as it is fresh. @throws as {@linkcode TokenSource.token} */
  async token(request: GoogleTokenRequest, options: GoogleTry = {}): Promise<GoogleToken> {
    const id = googleTokenId(request);
    const held = this.#held.get(id);
    if (held !== undefined && this.#nowMs() < held.untilMs) return held.token;
    let running = this.#running.get(id);
    if (running === undefined) {
      running = this.#renew(id, { request, options }).finally(() => this.#running.delete(id));
      this.#running.set(id, running);
    }
    return await abortable(running, options.signal);
  }

  /** A server refused a token: the next one is a new one. */
  forget({ token }: Pick<GoogleToken, "token">): void {
    for (const [id, held] of this.#held) if (held.token.token === token) this.#held.delete(id);
  }

  async grant(request: GoogleTokenRequest, options: { signal?: AbortSignal | undefined }): Promise<GrantedToken> {
    const { token, expiresAtMs } = await this.token(request, options);
    return { token, issuedAtMs: Math.min(this.#nowMs(), expiresAtMs), expiresAtMs };
  }

  /**
   * A request to a Google API as this account, once more with a new token after a 401.
   *
   * @throws as {@linkcode GoogleHttp.json} and {@linkcode GoogleAccount.token}
   */
  json<T>(request: AccountRequest, options: GoogleTry = {}): Promise<T | undefined> {
    return this.#asked(request, options, (call) => this.#http.json<T>(call));
  }

  /** As {@linkcode GoogleAccount.json}, for an answer that is any text. @throws as it does */
  text(request: AccountRequest, options: GoogleTry = {}): Promise<string | undefined> {
    return this.#asked(request, options, (call) => this.#http.text(call));
  }

  async #asked<T>(
    request: AccountRequest,
    options: GoogleTry,
    ask: (call: GoogleCall) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const quotaProject = request.quotaProject ?? await this.#source.quotaProject?.();
    for (let isSecond = false;; isSecond = true) {
      const bearer = await this.accessToken(request.scopes, options);
      try {
        // Its name as far as it is known by now: a failure is no time to ask for more.
        const identity = this.member ?? this.describe;
        return await ask({ ...request, ...options, quotaProject, bearer: bearer.token, identity });
      } catch (error) {
        if (isSecond || !(error instanceof KrunError) || error.code !== "GoogleCredentialsUnavailable") throw error;
        this.forget(bearer);
      }
    }
  }

  async #renew(
    id: string,
    { request, options }: { request: GoogleTokenRequest; options: GoogleTry },
  ): Promise<GoogleToken> {
    // Whoever shares it may give up; the others still want it.
    const token = await this.#source.token(request, { deadlineMs: options.deadlineMs });
    this.#held.set(id, { token, untilMs: freshUntilMs(token.expiresAtMs, this.#nowMs()) });
    return token;
  }
}
