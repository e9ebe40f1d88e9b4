/**
 * The status endpoint: /healthz, /readyz, /metrics and /status. It says names, never contents.
 *
 * @module
 */
import { AnySignal } from "../core/any_signal.ts";
import type { Logger } from "../core/log.ts";
import type { ListenAddress } from "../core/settings.ts";
import { readFailure } from "../kube/deno_files.ts";
import { systemClock } from "../pod/clock.ts";
import { cannotListen } from "./listen_address.ts";
import { metricsText, type RunState } from "./metrics.ts";

/** Options of {@linkcode serveStatus}. */
export interface StatusServerOptions extends ListenAddress {
  /** Told when clients have brought the server down. */
  readonly log: Logger;
  /** Every container is ready and no volume is stale. */
  ready(): boolean;
  state(): RunState;
}

/**
 * Listens until it is disposed. `/healthz` answers 200 while krun runs; `/readyz` 200 or 503; `/metrics` Prometheus text;
 * `/status` JSON. Needs net permission for the address.
 *
 * @throws {KrunError} `AddressInUse` when the address cannot be listened on.
 */
export function serveStatus(options: StatusServerOptions): AsyncDisposable & { readonly port: number } {
  const end = new AbortController();
  const first = listen(options, end.signal);
  const serving = serveOn(first, { ...options, port: first.port }, end.signal);
  return {
    port: first.port,
    async [Symbol.asyncDispose]() {
      end.abort();
      // A client that sends half a request, or reads no answer, must not hold up the end of krun.
      const limit = new AbortController();
      const finished = serving.finally(() => limit.abort());
      await Promise.race([finished, systemClock.sleep(LAST_ANSWERS_MS, limit.signal)]);
    },
  };
}

/** A server until it fails: so many clients may come that no descriptor is left. */
interface OneServer {
  readonly port: number;
  /** Resolves when it was ended; rejects when it failed, and all its connections are closed. */
  readonly finished: Promise<void>;
}

function listen(options: StatusServerOptions, signal: AbortSignal): OneServer {
  const { hostname, port } = options;
  // Deno.serve never lets go of its signal, and there may be many servers one after the other.
  const until = new AnySignal([signal]);
  try {
    const { addr, finished } = Deno.serve(
      { hostname, port, onListen: () => {}, signal: until.signal },
      (request) => answer(new URL(request.url).pathname, options),
    );
    return { port: addr.port, finished: finished.finally(() => until[Symbol.dispose]()) };
  } catch (cause) {
    throw cannotListen({ hostname, port }, { setting: "KRUN_STATUS", cause });
  }
}

/** Serves until the signal aborts, anew after each failure. Never rejects: the program must not suffer for a status page. */
async function serveOn(first: OneServer, options: StatusServerOptions, signal: AbortSignal): Promise<void> {
  for (let server: OneServer | undefined = first; !signal.aborted;) {
    try {
      server ??= listen(options, signal);
      return await server.finished;
    } catch (cause) {
      server = undefined;
      if (signal.aborted) return;
      options.log.warn("status pages are served anew in a second", { reason: readFailure(cause) });
      await systemClock.sleep(ANEW_MS, signal);
    }
  }
}

/** After a failure. */
const ANEW_MS = 1000;

/** How long clients may take for what they have asked for when the server ends. */
const LAST_ANSWERS_MS = 200;

function answer(path: string, { ready, state }: StatusServerOptions): Response {
  switch (path) {
    case "/healthz":
      return new Response("ok\n");
    case "/readyz":
      return ready() ? new Response("ok\n") : new Response("not ready\n", { status: 503 });
    case "/metrics":
      return new Response(metricsText(state()), { headers: { "content-type": "text/plain; version=0.0.4" } });
    case "/status":
      return Response.json(state());
    default:
      return new Response("krun has /healthz, /readyz, /metrics and /status\n", { status: 404 });
  }
}
