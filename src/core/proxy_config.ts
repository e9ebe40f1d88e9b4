/**
 * The ProxyConfig that the mesh agent is given. In: the mesh's, what krun knows of the machine, the program's probe. Out: JSON.
 *
 * @module
 */
import type { V1Container, V1Probe } from "@kubernetes/client-node";
import { type JsonObject, jsonObject } from "./mesh_objects.ts";
import { probePort } from "./probe.ts";

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
 * A container's probe as Istio's ReadinessProbe; `undefined` where the agent cannot ask it: a command would run without the
 * container's environment and user.
 */
export function agentReadinessProbe(probe: V1Probe | undefined, container: V1Container): JsonObject | undefined {
  const { httpGet, tcpSocket, grpc } = probe ?? {};
  const times = {
    initialDelaySeconds: probe?.initialDelaySeconds,
    timeoutSeconds: probe?.timeoutSeconds,
    periodSeconds: probe?.periodSeconds,
    successThreshold: probe?.successThreshold,
    failureThreshold: probe?.failureThreshold,
  };
  if (httpGet) {
    const { path, host, scheme, httpHeaders } = httpGet;
    return withoutUndefined({
      ...times,
      httpGet: { path, host, scheme, httpHeaders, ...portOf(httpGet.port, container) },
    });
  }
  if (tcpSocket) {
    return withoutUndefined({ ...times, tcpSocket: { host: tcpSocket.host, ...portOf(tcpSocket.port, container) } });
  }
  if (grpc) return withoutUndefined({ ...times, grpc: { port: grpc.port, service: grpc.service } });
  return undefined;
}

function portOf(port: Parameters<typeof probePort>[0], container: V1Container): { port?: number } {
  const number = probePort(port, container);
  return number === undefined ? {} : { port: number };
}

function withoutUndefined(value: JsonObject): JsonObject {
  return JSON.parse(JSON.stringify(value));
}
