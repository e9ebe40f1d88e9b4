/**
 * How `google-auth-library` reaches servers: by krun's own connections, with krun's rules of CAs, proxies, hosts and time. In: its
 * requests. Out: answers, and what the last one failed by in krun's words.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { isGoogleUrl, isLocalHost } from "../core/google_endpoint.ts";
import type { CallAnswer } from "../kube/transport.ts";
import type { GoogleHttp } from "./google_http.ts";

/** Options of {@linkcode LibraryExchange}. */
export interface LibraryExchangeOptions {
  readonly http: GoogleHttp;
  /** After `Cannot`: `get an access token with Google credentials "/key.json"`. */
  readonly what: string;
  /** Whose credentials they are, for a person. */
  readonly identity: string;
  /** Nothing is tried after that, milliseconds since the epoch. */
  readonly deadlineMs: number;
}

/** The requests for one token. */
export class LibraryExchange {
  /** Why the last request failed; `undefined` when it did not. The library says it in words that may quote what was sent. */
  failure: KrunError | undefined;
  readonly #options: LibraryExchangeOptions;

  constructor(options: LibraryExchangeOptions) {
    this.#options = options;
  }

  /** In place of `fetch`. @throws {KrunError} what {@linkcode LibraryExchange.failure} is then */
  readonly fetch = async (input: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    // It tries again by itself, some times; krun has, until there was no time left.
    if (this.failure !== undefined && Date.now() >= this.#options.deadlineMs) throw this.failure;
    this.failure = undefined;
    try {
      const { status, text, header } = await this.#send(new URL(input instanceof Request ? input.url : input), init);
      const type = header("content-type") ?? "application/json";
      return new Response(status === 204 ? null : text, { status, headers: { "content-type": type } });
    } catch (error) {
      if (error instanceof KrunError) this.failure = error;
      throw error;
    }
  };

  async #send(url: URL, { method: given, headers = {}, body = null }: RequestInit): Promise<CallAnswer> {
    const { http, what, identity, deadlineMs } = this.#options;
    const method = methodOf(given);
    // Where a subject's token comes from is the file's to say; where something is sent to is not. AWS wants a PUT without a body, of
    // its machine's own server.
    if (
      method === "POST" && !isGoogleUrl(url.href) || method === "PUT" && (!isLocalHost(url.hostname) || body !== null)
    ) {
      throw new KrunError(
        "GoogleCredentialsInvalid",
        `Cannot ${what}: they would be sent to ${url.host}, which is no host of Google's`,
        "make that file anew, with gcloud or in the console",
      );
    }
    // It knows which type a form has.
    const request = new Request(url, method === "POST" ? { method, headers, body } : { headers });
    return await http.raw(url, {
      ...{ what, identity, deadlineMs, method, headers: [...request.headers] },
      ...(method === "POST" && { body: await request.text() }),
    });
  }
}

function methodOf(given: string | undefined): "GET" | "POST" | "PUT" {
  const method = given?.toUpperCase() ?? "GET";
  if (method === "GET" || method === "POST" || method === "PUT") return method;
  throw new TypeError("only GET, POST and PUT are known");
}
