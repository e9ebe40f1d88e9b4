/**
 * The metadata server of Google Cloud: what the machine says of itself, and its service account's tokens. In: paths. Out: texts.
 *
 * @module
 */
import { answerLimitMs } from "../core/answer_limit.ts";
import { KrunError } from "../core/errors.ts";
import { DEFAULT_SCOPES, type GoogleToken, type GoogleTokenRequest } from "../core/google_token.ts";
import type { HttpAnswer } from "../core/http_answer.ts";
import { jwtClaims } from "../core/jwt.ts";
import { retryDelayMs } from "../core/retry_delay.ts";
import { sleep } from "../kube/abort.ts";
import { TimeLimit } from "../kube/time_limit.ts";
import { headerFault } from "../kube/transport.ts";
import { plainGet } from "./plain_http.ts";

/** Its address; the name `metadata.google.internal` would need a resolver, and be looked for in search domains. */
const ADDRESS = "169.254.169.254";
const ROOT = "/computeMetadata/v1";

/** How long one answer may take, milliseconds. A token may have to be made. */
const ANSWER_MS = 10_000;
/** The same where nothing says that there is one. */
const UNEXPECTED_MS = 1_000;
const FIRST_RETRY_MS = 100;
const LONGEST_RETRY_MS = 2_000;

/** Options of {@linkcode MetadataServer}. */
export interface MetadataServerOptions {
  /** GCE_METADATA_HOST: `host[:port]`. @default {"169.254.169.254"} */
  readonly host?: string | undefined;
  /** Something says that there is one: one that does not answer may answer later. @default {once it has answered} */
  readonly isExpected?: boolean;
}

/** How long something is tried. */
export interface MetadataTry {
  readonly signal?: AbortSignal | undefined;
  /** Tried again until then, milliseconds since the epoch, as long as nothing answers. 0: tried once. @default {tried once} */
  readonly deadlineMs?: number | undefined;
}

/** Options of a single look. */
interface Look extends MetadataTry {
  /** Milliseconds for one answer. */
  readonly limitMs?: number;
}

/** The metadata server. Asks nothing by itself, and keeps nothing. No proxy is ever used. */
export class MetadataServer {
  /** As a person would write it. */
  readonly address: string;
  readonly #hostname: string;
  readonly #port: number;
  readonly #hostHeader: string;
  #isExpected: boolean;

  constructor({ host = ADDRESS, isExpected = false }: MetadataServerOptions = {}) {
    this.#isExpected = isExpected;
    const [, name = host, port = "80"] = /^(.*?)(?::(\d+))?$/.exec(host) ?? [];
    this.address = host;
    this.#hostname = name.replace(/^\[|\]$/g, "");
    this.#port = Number(port);
    this.#hostHeader = host === ADDRESS ? "metadata.google.internal" : host;
  }

  /** Whether one answers within that many milliseconds. Never throws but the signal's reason. */
  async isThere(limitMs: number, signal?: AbortSignal): Promise<boolean> {
    try {
      await this.#look("/", { limitMs, signal });
      return true;
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof KrunError)) throw error;
      return false;
    }
  }

  /**
   * The text at a path below `/computeMetadata/v1/`; `undefined` where there is none (404).
   *
   * @throws {KrunError} `GoogleCredentialsUnavailable`, transient where a later try may succeed; the signal's reason
   */
  async get(path: string, options: MetadataTry = {}): Promise<string | undefined> {
    const { deadlineMs = 0, signal = new AbortController().signal } = options;
    for (let failures = 1;; failures++) {
      try {
        return await this.#look(`/${path}`, options);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof KrunError) || !error.transient || Date.now() >= deadlineMs) throw error;
        const delay = { chance: Math.random(), firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS };
        const waitMs = retryDelayMs(failures, { ...delay, atLeastMs: error.retryAfterMs });
        await sleep(Math.min(waitMs, deadlineMs - Date.now()), signal);
        signal.throwIfAborted();
      }
    }
  }

  /** The project's id. @throws as {@linkcode MetadataServer.get} */
  async projectId(options: MetadataTry = {}): Promise<string | undefined> {
    return await this.get("project/project-id", options);
  }

  /** The region of the machine, also where only its zone is known. @throws as {@linkcode MetadataServer.get} */
  async region(options: MetadataTry = {}): Promise<string | undefined> {
    const region = await this.get("instance/region", options);
    if (region !== undefined) return region.split("/").at(-1);
    const zone = (await this.get("instance/zone", options))?.split("/").at(-1);
    return zone?.replace(/-[a-z0-9]$/, "");
  }

  /** E-mail of the default service account; `undefined` where there is none. @throws as {@linkcode MetadataServer.get} */
  async email(options: MetadataTry = {}): Promise<string | undefined> {
    return await this.get("instance/service-accounts/default/email", options);
  }

  /** A token of the default service account. @throws as {@linkcode MetadataServer.get} */
  async token(request: GoogleTokenRequest, options: MetadataTry = {}): Promise<GoogleToken> {
    const account = "instance/service-accounts/default";
    if (request.kind === "identity") {
      const audience = encodeURIComponent(request.audience.toWellFormed());
      const token = (await this.get(`${account}/identity?audience=${audience}&format=full`, options))?.trim();
      if (token === undefined) throw this.#fault("there is no service account");
      return idToken(token) ?? this.#refuse("what it gave for an ID token is none");
    }
    // Whoever wants what krun's own requests need gets the token that the platform gives by itself: one for all of them.
    const isAll = request.scopes.every((scope) => DEFAULT_SCOPES.includes(scope));
    const query = isAll ? "" : `?scopes=${encodeURIComponent(request.scopes.join(","))}`;
    const text = await this.get(`${account}/token${query}`, options);
    if (text === undefined) throw this.#fault("there is no service account");
    return accessToken(text, Date.now()) ?? this.#refuse("what it gave for a token is none");
  }

  async #look(
    path: string,
    { limitMs: ownMs = this.#isExpected ? ANSWER_MS : UNEXPECTED_MS, deadlineMs, signal }: Look,
  ): Promise<string | undefined> {
    const limitMs = answerLimitMs(ownMs, { deadlineMs, nowMs: Date.now() });
    const limit = new TimeLimit(limitMs, signal);
    let answer: HttpAnswer;
    try {
      answer = await plainGet({
        hostname: this.#hostname,
        port: this.#port,
        path: ROOT + path,
        headers: { host: this.#hostHeader, "metadata-flavor": "Google", "user-agent": "krun" },
        signal: limit.signal,
      });
    } catch (cause) {
      signal?.throwIfAborted();
      const words = cause instanceof Error ? cause.message.replace(/ \(os error \d+\)$/, "") : String(cause);
      const transient = this.#isExpected;
      throw this.#fault(limit.expired ? `no answer within ${limitMs} ms` : words, { cause, transient });
    } finally {
      limit.clear();
    }
    return this.#text(answer);
  }

  #text({ status, headers, body }: HttpAnswer): string | undefined {
    // Other clouds have a server at that address too; and whoever answers without it may be anybody.
    if (headers.get("metadata-flavor") !== "Google") {
      const hint = this.address === ADDRESS ? OTHERWISE : "unset GCE_METADATA_HOST, or correct it";
      throw this.#fault("what answers there is not Google's", { hint });
    }
    this.#isExpected = true;
    if (status === 200) return new TextDecoder().decode(body);
    if (status === 404) return undefined;
    const transient = status === 429 || status >= 500;
    const seconds = Number(headers.get("retry-after") ?? NaN);
    throw this.#fault(`it answers ${status}`, { transient, ...(seconds >= 0 && { retryAfterMs: seconds * 1000 }) });
  }

  #refuse(state: string): never {
    throw this.#fault(state);
  }

  #fault(state: string, { hint = OTHERWISE, ...options }: FaultOptions = {}): KrunError {
    const message = `Cannot ask the metadata server at ${this.address}: ${state}`;
    return new KrunError("GoogleCredentialsUnavailable", message, hint, options);
  }
}

const OTHERWISE =
  "check that this machine has a service account of Google Cloud, or set GOOGLE_APPLICATION_CREDENTIALS";

interface FaultOptions {
  readonly hint?: string;
  readonly cause?: unknown;
  readonly transient?: boolean;
  readonly retryAfterMs?: number;
}

function accessToken(text: string, nowMs: number): GoogleToken | undefined {
  try {
    const { access_token: token, expires_in: seconds, token_type: type } = JSON.parse(text);
    const isOne = typeof token === "string" && token !== "" && headerFault(token) === undefined;
    return isOne && type === "Bearer" && Number(seconds) > 0
      ? { token, expiresAtMs: nowMs + Number(seconds) * 1000 }
      : undefined;
  } catch {
    return undefined;
  }
}

/** An ID token with the end that it has itself; `undefined` when it is no JWT. */
export function idToken(token: string): GoogleToken | undefined {
  const expires = jwtClaims(token)?.exp;
  return typeof expires === "number" && headerFault(token) === undefined
    ? { token, expiresAtMs: expires * 1000 }
    : undefined;
}
