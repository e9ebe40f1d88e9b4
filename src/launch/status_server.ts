/**
 * The status endpoint: /healthz, /readyz, /metrics and /status. It says names, never contents.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { ListenAddress } from "../core/settings.ts";
import { readFailure } from "../kube/deno_files.ts";
import { systemClock } from "../pod/clock.ts";
import { metricsText, type RunState } from "./metrics.ts";

/** Options of {@linkcode serveStatus}. */
export interface StatusServerOptions extends ListenAddress {
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
  const { hostname, port } = options;
  const end = new AbortController();
  const server = listening(options, () =>
    Deno.serve(
      { hostname, port, onListen: () => {}, signal: end.signal },
      (request) => answer(new URL(request.url).pathname, options),
    ));
  return {
    port: server.addr.port,
    async [Symbol.asyncDispose]() {
      end.abort();
      // A client that sends half a request, or reads no answer, must not hold up the end of krun.
      const limit = new AbortController();
      const finished = server.finished.finally(() => limit.abort());
      await Promise.race([finished, systemClock.sleep(LAST_ANSWERS_MS, limit.signal)]);
    },
  };
}

/** How long clients may take for what they have asked for when the server ends. */
const LAST_ANSWERS_MS = 200;

/** Makes sure that {@linkcode serveStatus} could listen there now. @throws {KrunError} `AddressInUse` */
export function checkStatusAddress({ hostname, port }: ListenAddress): void {
  listening({ hostname, port }, () => Deno.listen({ hostname, port }).close());
}

function listening<Result>({ hostname, port }: ListenAddress, listen: () => Result): Result {
  try {
    return listen();
  } catch (cause) {
    throw new KrunError(
      "AddressInUse",
      `Cannot listen on ${hostname}:${port} for KRUN_STATUS: ${readFailure(cause)}`,
      "choose a free address of this machine",
      { cause },
    );
  }
}

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
