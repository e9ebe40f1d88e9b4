/**
 * What krun reads of the objects with which Istio describes itself. In: parsed YAML or JSON, as it comes. Out: the few values
 * that a workload outside the cluster needs. A field of another type than Istio's counts as absent, since the mesh works for
 * others with it.
 *
 * @module
 */

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Of ConfigMap `istio`, key `mesh` (istio.mesh.v1alpha1.MeshConfig). */
export interface MeshConfig {
  readonly trustDomain?: string | undefined;
  /** Port of the HTTP proxy of every workload; 0: none. */
  readonly proxyHttpPort?: number | undefined;
  readonly enablePrometheusMerge?: boolean | undefined;
  /** ProxyConfig that every proxy starts from. */
  readonly defaultConfig: JsonObject;
}

/** Of ConfigMap `istio-sidecar-injector`, key `values` (the Helm chart's). */
export interface InjectorValues {
  readonly clusterName?: string | undefined;
  readonly meshId?: string | undefined;
  readonly clusterDomain?: string | undefined;
}

/** Of a WorkloadGroup (networking.istio.io/v1). */
export interface WorkloadGroup {
  readonly name: string;
  readonly serviceAccount?: string | undefined;
  readonly network?: string | undefined;
  readonly locality?: string | undefined;
  /** Labels of `spec.metadata`, which every entry of the group has. */
  readonly labels: Readonly<Record<string, string>>;
  /** `spec.template.ports`: name → number. */
  readonly ports: Readonly<Record<string, number>>;
  /** `spec.probe`, a ReadinessProbe. */
  readonly probe?: JsonObject | undefined;
}

/** Of a Sidecar (networking.istio.io/v1). */
export interface Sidecar {
  /** Labels of the workloads that it is for; none: all of the namespace. */
  readonly selector: Readonly<Record<string, string>>;
  /** Ports of its own listeners for traffic that comes in. */
  readonly ingressPorts: readonly number[];
  /** Ports of its own listeners for calls that go out. */
  readonly egressPorts: readonly number[];
}

/** A value as a JSON object; an empty one when it is none. */
export function jsonObject(value: unknown): JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value as JsonObject : {};
}

/** Reads a MeshConfig. */
export function meshConfigOf(value: unknown): MeshConfig {
  const { trustDomain, proxyHttpPort, enablePrometheusMerge, defaultConfig } = jsonObject(value);
  return {
    trustDomain: text(trustDomain),
    proxyHttpPort: typeof proxyHttpPort === "number" ? proxyHttpPort : undefined,
    enablePrometheusMerge: typeof enablePrometheusMerge === "boolean" ? enablePrometheusMerge : undefined,
    defaultConfig: jsonObject(defaultConfig),
  };
}

/** Reads the values of the injector's chart. */
export function injectorValuesOf(value: unknown): InjectorValues {
  const global = jsonObject(jsonObject(value).global);
  return {
    clusterName: text(jsonObject(global.multiCluster).clusterName),
    meshId: text(global.meshID),
    clusterDomain: text(jsonObject(global.proxy).clusterDomain),
  };
}

/** Reads a WorkloadGroup. */
export function workloadGroupOf(value: unknown): WorkloadGroup | undefined {
  const object = jsonObject(value);
  const spec = jsonObject(object.spec);
  const template = jsonObject(spec.template);
  const name = text(jsonObject(object.metadata).name);
  if (name === undefined) return undefined;
  return {
    name,
    serviceAccount: text(template.serviceAccount),
    network: text(template.network),
    locality: text(template.locality),
    labels: entriesOf(jsonObject(spec.metadata).labels, isText),
    ports: entriesOf(template.ports, isNumber),
    probe: spec.probe === undefined ? undefined : jsonObject(spec.probe),
  };
}

/** Reads a list of Sidecars; `undefined`: the value is no list. */
export function sidecarsOf(value: unknown): Sidecar[] | undefined {
  const { items } = jsonObject(value);
  if (!Array.isArray(items)) return undefined;
  return items.map((item) => {
    const { workloadSelector, ingress, egress } = jsonObject(jsonObject(item).spec);
    const ports = (listeners: unknown) =>
      (Array.isArray(listeners) ? listeners : []).map((entry) => jsonObject(jsonObject(entry).port).number);
    return {
      selector: entriesOf(jsonObject(workloadSelector).labels, isText),
      ingressPorts: ports(ingress).filter(isNumber),
      egressPorts: ports(egress).filter(isNumber),
    };
  });
}

/** The host of a Service of type LoadBalancer, or its first external IP, IPv6 in brackets; `undefined`: it has none yet. */
export function loadBalancerAddress(service: unknown): string | undefined {
  const object = jsonObject(service);
  const { ingress } = jsonObject(jsonObject(object.status).loadBalancer);
  const { externalIPs } = jsonObject(object.spec);
  const [first] = Array.isArray(ingress) ? ingress : [];
  const { ip, hostname } = jsonObject(first);
  const address = text(ip) ?? text(hostname) ?? text(Array.isArray(externalIPs) ? externalIPs[0] : undefined);
  return address?.includes(":") ? `[${address}]` : address;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function entriesOf<T>(value: unknown, isKind: (item: unknown) => item is T): Record<string, T> {
  const entries = Object.entries(jsonObject(value)).filter((entry): entry is [string, T] => isKind(entry[1]));
  return Object.fromEntries(entries);
}

const isText = (item: unknown): item is string => typeof item === "string";
const isNumber = (item: unknown): item is number => typeof item === "number";
