/**
 * The one way to Google's APIs: a JSON request to a host of theirs, tried again where that makes sense. In: what is asked for and
 * with which token. Out: an object, or a {@linkcode KrunError} that says what to do.
 *
 * Hosts stand in the code of whoever calls, and each is held against the form that Google's have; TLS is verified with the
 * machine's CAs. There is no way to send a request elsewhere.
 *
 * @module
 */
import { answerLimitMs } from "../core/answer_limit.ts";
import { KrunError } from "../core/errors.ts";
import { googleHost, isGoogleUrl, isLocalHost } from "../core/google_endpoint.ts";
import { parseGoogleFailure, roleFor } from "../core/google_error.ts";
import { proxyFor, type ProxySettings } from "../core/proxy_choice.ts";
import { retryDelayMs } from "../core/retry_delay.ts";
import { sleep } from "../kube/abort.ts";
import { connectionState } from "../kube/api_error.ts";
import { NativeTransport } from "../kube/native_transport.ts";
import type { CallAnswer, HeaderLines, Transport } from "../kube/transport.ts";

/** One request. */
export interface GoogleRequest {
  /** After `Cannot`: `list the clusters of project "p"`. */
  readonly what: string;
  /** As `container.googleapis.com`. */
  readonly host: string;
  /** With query; every part of it that is not the caller's own is encoded. */
  readonly path: string;
  /** Sent by POST. @default {a GET} */
  readonly body?: unknown;
  /** The body is sent as a form, as OAuth has it. @default {as JSON} */
  readonly isForm?: boolean;
  /** Whose quota it counts to (`x-goog-user-project`). */
  readonly quotaProject?: string | undefined;
  /** A 404 is no failure. @default {false} */
  readonly absent?: boolean;
  /** The permission that it takes, where the API does not say it. */
  readonly permission?: string;
  /** The role to grant, where the permission does not say which, and what it is granted on: `web@p.iam.gserviceaccount.com`. */
  readonly grant?: { readonly role: string; readonly on: string };
  /** What else may end a 403, after `or`: `correct PROJECT_ID`. */
  readonly otherwise?: string | undefined;
}

/** How a request is tried. */
export interface GoogleTry {
  readonly signal?: AbortSignal | undefined;
  /**
   * 429, 5xx and lost connections are tried again until then, and no answer is waited for much longer; milliseconds since the
   * epoch. 0: one try, with all its time. @default {10 s from now}
   */
  readonly deadlineMs?: number | undefined;
}

/** A request and its token. */
export interface GoogleCall extends GoogleRequest, GoogleTry {
  /** Access token; unset: the request proves itself. */
  readonly bearer?: string | undefined;
  /** Whose token it is, for a person. */
  readonly identity?: string | undefined;
}

/** A request of `google-auth-library`. */
export interface RawCall extends GoogleTry {
  readonly what: string;
  readonly method: "GET" | "POST" | "PUT";
  readonly headers: HeaderLines;
  readonly body?: string;
  readonly identity?: string | undefined;
}

/** Options of {@linkcode GoogleHttp}. */
export interface GoogleHttpOptions {
  /** CAs by which Google's servers are verified. @default {Deno's own} */
  readonly roots?: (() => Promise<readonly string[]>) | undefined;
  /** Proxies of krun's environment; never used for this machine, nor for the link that it hangs on. @default {none} */
  readonly proxy?: ProxySettings | undefined;
  /** Milliseconds for one answer. @default {20_000} */
  readonly timeoutMs?: number | undefined;
}

const RETRY_MS = 10_000;
const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 5_000;

/** Connections to Google's APIs, one to each host. Disposing it closes them. */
export class GoogleHttp implements AsyncDisposable {
  readonly #options: GoogleHttpOptions;
  readonly #transports = new Map<string, Promise<Transport>>();

  constructor(options: GoogleHttpOptions = {}) {
    this.#options = options;
  }

  /**
   * The answer's object; `undefined` for a 404 when `absent` is set.
   *
   * @throws {KrunError} `GoogleForbidden`, `GoogleCredentialsUnavailable` (401, or a 400 of a token endpoint), `GoogleApiFailed`;
   * the signal's reason
   */
  async json<T>(call: GoogleCall): Promise<T | undefined> {
    return await this.#asked(call, (text): T => {
      const object = objectIn(text);
      if (object !== undefined) return object as T;
      throw new KrunError("GoogleApiFailed", `${said(call)}: the answer is no JSON object`, "try again later", {
        transient: true,
      });
    });
  }

  /** The answer's text; `undefined` for a 404 when `absent` is set. @throws as {@linkcode GoogleHttp.json} */
  async text(call: GoogleCall): Promise<string | undefined> {
    return await this.#asked(call, (text) => text);
  }

  /**
   * One request as it is to a server of any URL, for `google-auth-library`; https, or http on this machine. An answer is one of a
   * status below 300.
   *
   * @throws {KrunError} as {@linkcode GoogleHttp.json}; what a server says that is not Google's is not told
   */
  async raw(url: URL, call: RawCall): Promise<CallAnswer> {
    if (url.protocol !== "https:" && !isLocalHost(url.hostname)) {
      throw new TypeError(`Cannot ask ${url.host}: only https is safe beyond this machine`);
    }
    return await this.#persist(call, async (signal) => {
      const answer = await this.#call(url, url.pathname + url.search, { ...call, signal });
      if (answer.status < 300) return answer;
      throw isGoogleUrl(url.href) ? failed({ ...call, host: url.host }, answer) : refused(url.host, call, answer);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = await Promise.allSettled(this.#transports.values());
    this.#transports.clear();
    for (const made of all) if (made.status === "fulfilled") await made.value[Symbol.asyncDispose]();
  }

  async #asked<T>(call: GoogleCall, read: (text: string) => T): Promise<T | undefined> {
    if (googleHost(call.host) === undefined) throw new TypeError(`Cannot ask ${call.host}: it is no host of Google's`);
    return await this.#persist(call, async (signal) => {
      const headers = headersOf(call);
      const url = new URL(`https://${call.host}`);
      const { what, deadlineMs } = call;
      const answer = await this.#call(url, call.path, { ...bodyOf(call), what, deadlineMs, headers, signal });
      if (answer.status === 404 && call.absent) return undefined;
      if (answer.status >= 300) throw failed(call, answer);
      return read(answer.text);
    });
  }

  /** Tries again what may succeed later, until the deadline. */
  async #persist<T>(
    { signal = new AbortController().signal, deadlineMs = Date.now() + RETRY_MS }: GoogleTry,
    once: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    for (let failures = 1;; failures++) {
      try {
        return await once(signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof KrunError) || !error.transient || Date.now() >= deadlineMs) throw error;
        const delay = { chance: Math.random(), firstMs: FIRST_DELAY_MS, maxMs: LONGEST_DELAY_MS };
        const waitMs = retryDelayMs(failures, { ...delay, atLeastMs: error.retryAfterMs });
        if (Date.now() + waitMs > deadlineMs) throw error;
        await sleep(waitMs, signal);
        signal.throwIfAborted();
      }
    }
  }

  async #call(url: URL, path: string, call: Omit<RawCall, "signal"> & { signal: AbortSignal }): Promise<CallAnswer> {
    try {
      const transport = await this.#transport(url.origin);
      const { method, headers, body, signal } = call;
      const timeoutMs = answerLimitMs(this.#options.timeoutMs ?? 20_000, {
        deadlineMs: call.deadlineMs,
        nowMs: Date.now(),
      });
      return await transport.call(path, { method, headers, body, certificate: undefined, signal, timeoutMs });
    } catch (cause) {
      if (call.signal.aborted || !(cause instanceof Error) || cause instanceof KrunError) throw cause;
      throw this.#unreachable({ ...call, host: url.host }, { url, cause });
    }
  }

  #unreachable(call: Said, { url, cause }: { url: URL; cause: Error }): KrunError {
    const state = connectionState(cause);
    const untrusted = /UnknownIssuer|invalid peer certificate/.test(`${state} ${cause.message} ${String(cause.cause)}`);
    const hint = untrusted
      ? "give this machine the public CAs, as a file that SSL_CERT_FILE names"
      : "check the network, name resolution, and that a proxy lets it through";
    const proxy = URL.parse(this.#proxyFor(url) ?? "");
    const through = proxy === null ? "" : ` through proxy ${proxy.protocol}//${proxy.host}`;
    return new KrunError("GoogleApiFailed", `${said(call)}${through}: ${state}`, hint, {
      cause,
      transient: !untrusted,
    });
  }

  #proxyFor(url: URL): string | undefined {
    return isLocalHost(url.hostname) ? undefined : proxyFor(url, this.#options.proxy ?? {});
  }

  #transport(origin: string): Promise<Transport> {
    let made = this.#transports.get(origin);
    if (made === undefined) {
      made = this.#connect(origin);
      this.#transports.set(origin, made);
    }
    return made;
  }

  async #connect(origin: string): Promise<Transport> {
    const { roots } = this.#options;
    const url = new URL(origin);
    const proxyUrl = this.#proxyFor(url);
    const caPem = url.protocol === "https:" ? (await roots?.())?.join("\n") || undefined : undefined;
    return new NativeTransport({ server: origin, caPem, proxyUrl });
  }
}

/** `undefined` for what is none; without the parser's words, which would quote the answer: a token. */
function objectIn(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function headersOf({ bearer, body, isForm, quotaProject }: GoogleCall): HeaderLines {
  const type = isForm ? "application/x-www-form-urlencoded" : "application/json";
  return [
    ["accept", "application/json"],
    ["user-agent", "krun"],
    ...(bearer === undefined ? [] : [["authorization", `Bearer ${bearer}`]] as const),
    ...(body === undefined ? [] : [["content-type", type]] as const),
    ...(quotaProject === undefined ? [] : [["x-goog-user-project", quotaProject]] as const),
  ];
}

function bodyOf({ body, isForm }: GoogleRequest): { method: "GET" | "POST"; body?: string } {
  if (body === undefined) return { method: "GET" };
  const text = isForm ? new URLSearchParams(body as Record<string, string>).toString() : JSON.stringify(body);
  return { method: "POST", body: text };
}

/** What a failure is said of. */
interface Said {
  readonly what: string;
  readonly host: string;
}

function said({ what, host }: Said): string {
  return `Cannot ${what} at ${host}`;
}

/** What an answer that is a failure stands for. */
function failed(
  call: Said & Pick<GoogleCall, "identity" | "permission" | "grant" | "otherwise">,
  { status, text, header }: CallAnswer,
): KrunError {
  const failure = parseGoogleFailure(text);
  const identity = call.identity ?? "the account";
  const say = (state: string) => `${said(call)}: ${status}, ${state}`;
  const permission = failure.permission ?? call.permission;
  if (failure.reason === "SERVICE_DISABLED") {
    return new KrunError("GoogleForbidden", say(failure.message), `enable ${call.host} in that project`);
  }
  if (failure.reason === "ACCESS_TOKEN_SCOPE_INSUFFICIENT") {
    const hint =
      `give the machine's account the access scope cloud-platform (gcloud compute instances set-service-account, ` +
      `of a VM that is stopped), or set GOOGLE_APPLICATION_CREDENTIALS`;
    return new KrunError("GoogleForbidden", say(`the token of ${identity} lacks a scope: ${failure.message}`), hint);
  }
  if (status === 403) {
    const right = permission === undefined ? "the right for it" : roleFor(permission);
    const granted = call.grant === undefined ? right : `${call.grant.role} on ${call.grant.on}`;
    const otherwise = call.otherwise === undefined ? "" : `, or ${call.otherwise}`;
    return new KrunError("GoogleForbidden", say(failure.message), `grant ${granted} to ${identity}${otherwise}`);
  }
  if (status === 401 || status === 400 && /^invalid_/.test(failure.status ?? "")) {
    const message = say(`it does not take the credentials of ${identity}: ${failure.message}`);
    return new KrunError("GoogleCredentialsUnavailable", message, "renew these credentials");
  }
  const later = laterOf(status, header);
  const hint = later.transient ? "try again later" : "correct what the API complains about";
  return new KrunError("GoogleApiFailed", say(failure.message), hint, later);
}

/** The same of a server that is not Google's: where a subject's token comes from. It might quote anything. */
function refused(host: string, call: RawCall, { status, header }: CallAnswer): KrunError {
  const message = `${said({ ...call, host })}: ${status}`;
  const later = laterOf(status, header);
  const hint = later.transient ? "try again later" : "correct the credential_source in that file";
  return new KrunError("GoogleCredentialsUnavailable", message, hint, later);
}

/** Whether and when a later try may succeed. */
function laterOf(status: number, header: CallAnswer["header"]): { transient: boolean; retryAfterMs?: number } {
  const seconds = Number(header("retry-after") ?? NaN);
  return { transient: status === 429 || status >= 500, ...(seconds >= 0 && { retryAfterMs: seconds * 1000 }) };
}
