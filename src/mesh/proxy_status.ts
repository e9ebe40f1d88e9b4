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

/**
 * Begins the end of inbound traffic: connections that are open are told to close (`connection: close`, GOAWAY), new ones are
 * refused. Outbound traffic goes on. Without Envoy nothing: connections are the program's own. Never rejects: where it fails,
 * the proxy is gone or does not work.
 */
export async function drainProxy({ mode, ports }: ProxyPlace, signal: AbortSignal): Promise<void> {
  if (mode === "proxyless") return;
  // The agent then ends at SIGTERM at once, without its own wait of 5 s.
  await answer("POST", ports.status, "/drain", signal);
  // What the agent asks of Envoy leaves the listeners open, for a program that is about to be gone.
  await answer("POST", ports.admin, "/drain_listeners?inboundonly", signal);
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
