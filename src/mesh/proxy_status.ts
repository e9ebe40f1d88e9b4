/**
 * What agent and Envoy say of themselves, and how they are told that the workload is going. In: their ports on loopback. Out:
 * answers.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { envoyListeners } from "../core/envoy_listeners.ts";
import type { MeshPorts } from "../core/istio_proxy.ts";
import type { HostPort, MeshMode } from "../core/mesh_settings.ts";
import { ACCEPTED_MS, type DrainOptions } from "./drain.ts";

/** How often the proxy is asked while it starts, milliseconds. */
const POLL_MS = 50;

/** How long one answer may take, milliseconds. */
const ANSWER_MS = 3_000;

/** Which proxy. */
export interface ProxyPlace {
  readonly mode: MeshMode;
  readonly ports: MeshPorts;
}

/**
 * Resolves when the proxy is ready: it has its configuration and certificates; without Envoy, the agent has. Or when `over`
 * aborts. Never rejects. Needs `--allow-net` for loopback.
 */
export async function proxyReady(
  { mode, ports }: ProxyPlace,
  { over, clock }: { over: AbortSignal; clock: Clock },
): Promise<void> {
  // Envoy's own listener opens with its first configuration: until then a connection is refused at once.
  const port = mode === "proxyless" ? ports.status : ports.ready;
  while (!over.aborted) {
    if (await answer("GET", port, "/healthz/ready", over) === 200) return;
    await clock.sleep(POLL_MS, over);
  }
}

/** Has the agent write into its log what it waits for; Envoy's port refuses that question until there is a configuration. */
export async function askAgent({ ports }: ProxyPlace, signal: AbortSignal): Promise<void> {
  await answer("GET", ports.status, "/healthz/ready", signal);
}

/**
 * Begins the end of inbound traffic, and resolves when new connections are refused and a program has all that were accepted:
 * then it can be told. Connections that are open are told to close (`connection: close`, GOAWAY). Outbound traffic goes on.
 * Without Envoy nothing: connections are the program's own. Never rejects: where it fails, the proxy is gone or does not work.
 */
export async function drainProxy(
  { mode, ports }: ProxyPlace,
  { over, clock, programRuns }: DrainOptions,
): Promise<void> {
  if (mode === "proxyless") return;
  const [closed] = await Promise.all([
    // What the agent asks of Envoy leaves the listeners open, for a program that is about to be gone.
    answer("POST", ports.admin, "/drain_listeners?inboundonly", over),
    // The agent then ends at SIGTERM at once, without its own wait of 5 s.
    answer("POST", ports.status, "/drain", over),
  ]);
  if (closed === 200 && programRuns) await clock.sleep(ACCEPTED_MS, over);
}

/** How long Envoy may take to end in order, milliseconds: some 50, unless something is wrong. */
const QUIT_MS = 1_000;

/**
 * Ends Envoy in order, and resolves when `over` aborts since the agent has ended with it, or it takes too long. An agent that is
 * signalled instead kills Envoy, and with it the lines of access logs that it has not written, up to a second's. Without Envoy
 * nothing. Never rejects.
 */
export async function quitEnvoy(
  { mode, ports }: ProxyPlace,
  { over, clock }: { over: AbortSignal; clock: Clock },
): Promise<void> {
  if (mode === "proxyless") return;
  if (await answer("POST", ports.admin, "/quitquitquit", over) === 200) await clock.sleep(QUIT_MS, over);
}

/** Everything that Envoy is configured with; keys are left out by Envoy itself. `undefined`: it does not answer. */
export function configDump({ ports }: ProxyPlace, signal: AbortSignal): Promise<string | undefined> {
  return text(`http://127.0.0.1:${ports.admin}/config_dump?include_eds`, signal);
}

/** Where Envoy listens; empty when it does not answer. */
export async function listeners({ ports }: ProxyPlace, signal: AbortSignal): Promise<HostPort[]> {
  return envoyListeners(await text(`http://127.0.0.1:${ports.admin}/listeners?format=json`, signal) ?? "");
}

async function text(url: string, signal: AbortSignal): Promise<string | undefined> {
  try {
    const response = await fetch(url, limited(signal));
    const body = await response.text();
    return response.ok ? body : undefined;
  } catch {
    return undefined;
  }
}

function limited(signal: AbortSignal): RequestInit {
  return { signal: AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]) };
}

/** The status of the answer; `undefined`: there is none. */
async function answer(method: string, port: number, path: string, signal: AbortSignal): Promise<number | undefined> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...limited(signal) });
    await response.body?.cancel();
    return response.status;
  } catch {
    return undefined;
  }
}
