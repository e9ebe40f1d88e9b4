/**
 * A metadata server for the program, from the identity that the program has at Google: the libraries of Google in it then work off
 * Google as on it. In: facts, tokens, and who may ask. Out: a server on a loopback address.
 *
 * Loopback is shared by all users of a machine. So each connection is traced to the process at its other end, and only those of the
 * Pod get an answer.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { GoogleTokens } from "../core/google_token.ts";
import type { Logger } from "../core/log.ts";
import { metadataAnswer, type MetadataFacts, tokenAnswer } from "../core/metadata_answer.ts";
import { sleep } from "../kube/abort.ts";
import { readFailure } from "../kube/deno_files.ts";

/** Options of {@linkcode serveMetadata}. */
export interface MetadataEmulatorOptions {
  /** A loopback address, without brackets. */
  readonly hostname: string;
  /** 0: any free one. */
  readonly port: number;
  /** Asked once, at the first request that may be answered. */
  facts(): Promise<MetadataFacts>;
  readonly tokens: GoogleTokens;
  /** Whether the process at the other end is one of the Pod. */
  mayAsk(caller: { readonly hostname: string; readonly port: number }): boolean;
  readonly log: Logger;
}

/** A running one. */
export interface MetadataEmulator extends AsyncDisposable {
  /** `host:port`, as GCE_METADATA_HOST wants it. */
  readonly address: string;
  readonly port: number;
}

/**
 * Listens until it is disposed. Needs `--allow-net` for the address.
 *
 * @throws {KrunError} `AddressInUse`
 */
export function serveMetadata(options: MetadataEmulatorOptions): MetadataEmulator {
  const { hostname, port } = options;
  const end = new AbortController();
  const emulator = new Emulator(options, end.signal);
  const name = hostname.includes(":") ? `[${hostname}]` : hostname;
  let server: Deno.HttpServer<Deno.NetAddr>;
  try {
    server = Deno.serve({ hostname, port, onListen() {}, signal: end.signal }, (request, info) => {
      return emulator.answer(request, { caller: info.remoteAddr, address: `${name}:${server.addr.port}` });
    });
  } catch (cause) {
    const message = `Cannot listen on ${name}:${port} for KRUN_METADATA: ${readFailure(cause)}`;
    throw new KrunError("AddressInUse", message, "choose a free address of this machine", { cause });
  }
  return {
    address: `${name}:${server.addr.port}`,
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      end.abort();
      await server.finished.catch(() => {});
    },
  };
}

/** Where a request came from, and to. */
interface Ends {
  readonly caller: Deno.NetAddr;
  readonly address: string;
}

class Emulator {
  readonly #options: MetadataEmulatorOptions;
  readonly #end: AbortSignal;
  #facts: Promise<MetadataFacts> | undefined;
  #told = new Set<string>();

  constructor(options: MetadataEmulatorOptions, end: AbortSignal) {
    this.#options = options;
    this.#end = end;
  }

  async answer(request: Request, { caller, address }: Ends): Promise<Response> {
    if (!this.#options.mayAsk(caller)) {
      this.#tell("a process that is not of the Pod has asked for metadata", `port ${caller.port}`);
      return reply("This metadata server is that of another program.\n", { status: 403 });
    }
    try {
      const facts = await this.#known();
      const { pathname, search } = new URL(request.url);
      const header = (name: string) => request.headers.get(name);
      const answer = metadataAnswer({ method: request.method, target: pathname + search, header, address }, facts);
      if (answer.kind === "text") {
        if (answer.holdSeconds) await sleep(answer.holdSeconds * 1000, this.#end);
        return reply(answer.text, answer);
      }
      // Not the request's own signal: Deno writes a line of its own to standard error for whoever looks at that.
      const { token, expiresAtMs } = await this.#options.tokens.grant(answer.request, { signal: this.#end });
      if (answer.request.kind === "identity") return reply(token, { status: 200 });
      const secondsLeft = Math.max(Math.floor((expiresAtMs - Date.now()) / 1000), 0);
      return reply(tokenAnswer(token, secondsLeft), { status: 200, type: "application/json" });
    } catch (error) {
      if (!(error instanceof KrunError)) throw error;
      this.#tell("the program gets no answer from its metadata server", error.message, error.hint);
      return reply(`${error.message}\n`, { status: error.transient ? 503 : 500 });
    }
  }

  /** A failure is not kept. */
  #known(): Promise<MetadataFacts> {
    return this.#facts ??= this.#options.facts().catch((error) => {
      this.#facts = undefined;
      throw error;
    });
  }

  /** Each thing once: a library asks again and again. */
  #tell(event: string, reason: string, hint?: string): void {
    if (this.#told.has(event + reason) || this.#told.size > 100) return;
    this.#told.add(event + reason);
    this.#options.log.warn(event, { reason, hint });
  }
}

/** How an answer goes out. */
interface Reply {
  readonly status: number;
  readonly type?: string;
  readonly etag?: string;
}

function reply(body: string, { status, type = "application/text", etag }: Reply): Response {
  const headers = {
    "content-type": type,
    ...(etag !== undefined && { etag }),
    "metadata-flavor": "Google",
    "server": "Metadata Server for VM",
    "x-xss-protection": "0",
    "x-frame-options": "SAMEORIGIN",
  };
  return new Response(body, { status, headers });
}
