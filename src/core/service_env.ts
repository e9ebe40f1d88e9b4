/**
 * The variables by which a container finds Services. In: Services. Out: environment variables.
 *
 * @module
 */
import type { V1Service, V1ServicePort } from "@kubernetes/client-node";
import type { Env } from "./pod_inputs.ts";

/** Options of {@linkcode serviceEnv}. */
export interface ServiceEnvOptions {
  /** The Pod's namespace. */
  readonly namespace: string;
  /** `spec.enableServiceLinks`: also the Services of the Pod's namespace, not only `default/kubernetes`. */
  readonly enableServiceLinks: boolean;
}

/**
 * The service variables of a container.
 *
 * Services without a cluster IP (headless, ExternalName) and without ports are left out. `kubernetes` of namespace
 * `default` is always in; one of the same name in the Pod's own namespace takes its place when links are on.
 *
 * Rule: pkg/kubelet/kubelet_pods.go `getServiceEnvVarMap` and pkg/kubelet/envvars/envvars.go of Kubernetes v1.34.
 */
export function serviceEnv(services: readonly V1Service[], options: ServiceEnvOptions): Env {
  const chosen = new Map<string, V1Service>();
  for (const service of services.filter(hasClusterIp)) {
    const name = service.metadata?.name ?? "";
    const namespace = service.metadata?.namespace;
    if (namespace === "default" && name === "kubernetes") {
      if (!chosen.has(name)) chosen.set(name, service);
    } else if (namespace === options.namespace && options.enableServiceLinks) {
      chosen.set(name, service);
    }
  }
  return Object.fromEntries([...chosen].flatMap(([name, service]) => variablesOf(name, service)));
}

function hasClusterIp(service: V1Service): boolean {
  const ip = service.spec?.clusterIP;
  return ip !== undefined && ip !== "" && ip !== "None";
}

function variablesOf(service: string, { spec }: V1Service): [string, string][] {
  const prefix = variableName(service);
  const host = spec?.clusterIP ?? "";
  const ports = spec?.ports ?? [];
  const first = ports[0];
  if (first === undefined) return [];
  const named = ports.filter((port) => port.name);
  return [
    [`${prefix}_SERVICE_HOST`, host],
    [`${prefix}_SERVICE_PORT`, `${first.port}`],
    ...named.map((port): [string, string] => [`${prefix}_SERVICE_PORT_${variableName(port.name!)}`, `${port.port}`]),
    [`${prefix}_PORT`, url(host, first)],
    ...ports.flatMap((port) => linkVariables(`${prefix}_PORT_${port.port}_${protocol(port)}`, host, port)),
  ];
}

/** The variables that Docker's container links once had. */
function linkVariables(name: string, host: string, port: V1ServicePort): [string, string][] {
  return [
    [name, url(host, port)],
    [`${name}_PROTO`, protocol(port).toLowerCase()],
    [`${name}_PORT`, `${port.port}`],
    [`${name}_ADDR`, host],
  ];
}

function protocol(port: V1ServicePort): string {
  return (port.protocol || "TCP").toUpperCase();
}

function url(host: string, port: V1ServicePort): string {
  return `${protocol(port).toLowerCase()}://${host.includes(":") ? `[${host}]` : host}:${port.port}`;
}

/** Dots and leading digits stay, although no shell can name such a variable: the kubelet leaves them alone too. */
function variableName(name: string): string {
  return name.replaceAll("-", "_").toUpperCase();
}
