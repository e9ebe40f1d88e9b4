/**
 * The ProxyConfig that the mesh agent is given. In: the mesh's, what krun knows of the machine, a WorkloadGroup's probe. Out: JSON.
 *
 * @module
 */
import type { V1Probe } from "@kubernetes/client-node";
import { type JsonObject, jsonObject } from "./mesh_objects.ts";

/** What krun sets whatever the mesh says. */
export interface ProxyConfigOptions {
  /** `host:port` of the control plane. */
  readonly discoveryAddress: string;
  /** Path of Envoy; `undefined`: there is none. */
  readonly binaryPath: string | undefined;
  /** Absolute path of the folder for bootstrap and sockets. */
  readonly configPath: string;
  /** How the control plane is to be told whether the workload is healthy. */
  readonly readinessProbe: JsonObject | undefined;
}

/** The whole value, as text. The agent takes a field of its own folder for the socket's name, so the path is absolute. */
export function agentProxyConfig(config: JsonObject, options: ProxyConfigOptions): string {
  const { discoveryAddress, binaryPath, configPath, readinessProbe } = options;
  return JSON.stringify({
    ...config,
    discoveryAddress,
    ...(binaryPath !== undefined && { binaryPath }),
    configPath,
    ...(readinessProbe && !("readinessProbe" in config) && { readinessProbe }),
  });
}

/**
 * The variables that a ProxyConfig asks the agent to have: each of its metadata, as the injector copies them, but the one that
 * has the agent write keys which everybody may read.
 */
export function proxyMetadataEnv(config: JsonObject): Record<string, string> {
  const { KUBERNETES_SERVICE_HOST: _, ...metadata } = jsonObject(config.proxyMetadata);
  return Object.fromEntries(Object.entries(metadata).map(([name, value]) => [name, String(value)]));
}

/**
 * How the agent learns whether the workload may be called: from krun, which knows the verdict of all probes and that a stop
 * has begun. As often as the agent can ask; the first time when Envoy has had the time to get ready.
 */
export function askKrun(port: number): JsonObject {
  return {
    httpGet: { host: "127.0.0.1", port, path: "/" },
    initialDelaySeconds: 1,
    periodSeconds: 1,
    timeoutSeconds: 5,
  };
}

/** The ways to ask that a ReadinessProbe of Istio's shares with a container's probe. */
const HANDLERS = ["httpGet", "tcpSocket", "exec", "grpc"] as const;

const TIMES = [
  "initialDelaySeconds",
  "timeoutSeconds",
  "periodSeconds",
  "successThreshold",
  "failureThreshold",
] as const;

/** A WorkloadGroup's ReadinessProbe as a container's probe; `undefined` where it asks nothing that a container can be asked. */
export function groupReadinessProbe(probe: JsonObject): V1Probe | undefined {
  const handler = HANDLERS.find((name) => Object.keys(jsonObject(probe[name])).length > 0);
  if (handler === undefined) return undefined;
  const times = TIMES.filter((name) => typeof probe[name] === "number");
  return Object.fromEntries([handler, ...times].map((name) => [name, probe[name]])) as V1Probe;
}
