/**
 * The mesh that a workload joins: every value with the rule that decided it. In: variables, the mesh's description, Istio's own
 * objects. Out: one {@linkcode Mesh}. Of each value an explicit variable counts first, then the description, then what the
 * cluster says.
 *
 * @module
 */
import { requireKnownAuthority } from "./certificate_source.ts";
import { KrunError } from "./errors.ts";
import type { Decided } from "./identity.ts";
import type { MeshEnv } from "./mesh_env.ts";
import {
  type InjectorValues,
  type JsonObject,
  jsonObject,
  type MeshConfig,
  type Sidecar,
  type WorkloadGroup,
} from "./mesh_objects.ts";
import { hostPort, hostPortText, type MeshSettings, type MeshValueName } from "./mesh_settings.ts";
import { settingInvalid } from "./setting_invalid.ts";

/** Where Istio's own objects are. */
export const ISTIO_NAMESPACE = "istio-system";

/** Port on which istiod, and a gateway in front of it, serve workloads outside the cluster. */
const ISTIOD_PORT = 15012;

/** Says on a workload in which network it is. */
export const NETWORK_LABEL = "topology.istio.io/network";

/** What of istiod's certificate is believed. */
export type IstiodRoot =
  /** ConfigMap `istio-ca-root-cert` of the workload's namespace, followed. */
  | { readonly kind: "config-map" }
  /** A text, PEM. */
  | { readonly kind: "pem"; readonly pem: string }
  /** A file of the user's, followed by the agent. */
  | { readonly kind: "file"; readonly path: string }
  /** The CAs of the machine. */
  | { readonly kind: "system" };

/** The mesh, as far as it is the same in all modes. */
export interface Mesh {
  /** Where the control plane is reached. */
  readonly address: Decided;
  /** Name in its certificate, where that is not the address's. */
  readonly san?: Decided | undefined;
  /** Certificate authority, where it is not the control plane. */
  readonly caAddress?: Decided | undefined;
  readonly root: IstiodRoot;
  /** Why that one. */
  readonly rootRule: string;
  readonly trustDomain: Decided;
  readonly clusterDomain: string;
  readonly clusterId: Decided;
  readonly meshId: Decided;
  readonly revision: Decided;
  /** In which of a mesh's networks the workload is; unset: in none, so that istiod sends it to the gateways of each. */
  readonly network?: Decided | undefined;
  /** ProxyConfig of the mesh, and over it the workload's own. */
  readonly proxyConfig: JsonObject;
  /** Port of the HTTP proxy that the mesh gives every workload. */
  readonly proxyHttpPort?: number | undefined;
  /** The agent adds the program's metrics to its own. @default {true} */
  readonly mergesMetrics?: boolean | undefined;
  /** The WorkloadGroup that makes the workload callable. */
  readonly group?: WorkloadGroup | undefined;
  /** Sidecars of the workload's namespace; `undefined`: they may not be read. */
  readonly sidecars?: readonly Sidecar[] | undefined;
  /** Resources of it that krun may not read, as `workloadgroups`. @default {none} */
  readonly unreadable?: readonly string[] | undefined;
}

/** What is known of a mesh. */
export interface MeshFound {
  /** `mesh-env`, or what MESH names; `undefined`: there is none. */
  readonly description?: { readonly values: MeshEnv; readonly where: string } | undefined;
  /** `undefined`: the cluster has no MeshConfig. */
  readonly meshConfig?: MeshConfig | undefined;
  readonly injector?: InjectorValues | undefined;
  /** Address of Service istio-eastwestgateway. */
  readonly gatewayAddress?: string | undefined;
  readonly group?: WorkloadGroup | undefined;
  /** Those of the workload's namespace; `undefined`: they may not be read. */
  readonly sidecars?: readonly Sidecar[] | undefined;
  /** Resources of it that krun may not read, as `workloadgroups`. @default {none} */
  readonly unreadable?: readonly string[] | undefined;
}

/** Options of {@linkcode meshOf}. */
export interface MeshOptions {
  readonly settings: MeshSettings;
  readonly found: MeshFound;
  readonly revision: Decided;
  /** The workload's own ProxyConfig: PROXY_CONFIG, or annotation `proxy.istio.io/config`. */
  readonly proxyConfig: JsonObject;
  /** The workload's own labels. @default {none} */
  readonly labels?: Readonly<Record<string, string>>;
}

/** Which revision, from the variable or the workload's own label. */
export function meshRevision(settings: MeshSettings, labels: Readonly<Record<string, string>>): Decided {
  const own = settings.values.get("MESH_REVISION");
  if (own !== undefined) return { value: own, rule: "MESH_REVISION" };
  const label = labels["istio.io/rev"];
  return label ? { value: label, rule: "label istio.io/rev" } : { value: "default", rule: "the default" };
}

/** Name of an object of Istio's own, which the default revision has without a suffix. */
export function revisionedName(name: string, revision: string): string {
  return revision === "default" || revision === "" ? name : `${name}-${revision}`;
}

/**
 * Decides every value of the mesh.
 *
 * @throws {KrunError} `MeshUnknown` when nothing says how the control plane is reached from here; `MeshUnavailable` when its
 * certificate authority is one that the agent does not know; `SettingInvalid`
 */
export function meshOf(options: MeshOptions): Mesh {
  const { found, revision } = options;
  const value = valueReader(options);
  const address = addressOf(options, value);
  const { host, port } = hostPort(address.value)!;
  const [root, rootRule] = rootOf(value, { port, xdsRoot: options.settings.certificates?.xdsRoot });
  const config = found.meshConfig;
  const trustDomain = value("TRUST_DOMAIN") ?? decided(config?.trustDomain, "the mesh's configuration") ??
    { value: "cluster.local", rule: "the default" };
  const meta = (name: string) => decided(options.settings.agentEnv.get(`ISTIO_META_${name}`), `ISTIO_META_${name}`);
  const caAddress = value("CA_ADDR");
  requireKnownAuthority(options.settings.certificates, { address, caAddress });
  return {
    address,
    san: value("ISTIOD_SAN") ?? sanOf(host, { root, revision: revision.value }),
    caAddress,
    root,
    rootRule,
    trustDomain,
    clusterDomain: found.injector?.clusterDomain ?? "cluster.local",
    clusterId: meta("CLUSTER_ID") ?? decided(found.injector?.clusterName, "the injector's values") ??
      { value: "Kubernetes", rule: "the default" },
    meshId: meta("MESH_ID") ?? decided(found.injector?.meshId, "the injector's values") ??
      { value: trustDomain.value, rule: "the trust domain" },
    revision,
    network: meta("NETWORK") ?? decided(options.labels?.[NETWORK_LABEL], `label ${NETWORK_LABEL}`) ??
      decided(found.group?.network, `WorkloadGroup ${found.group?.name}`),
    proxyConfig: mergedProxyConfig(config?.defaultConfig ?? {}, options.proxyConfig),
    proxyHttpPort: config?.proxyHttpPort || undefined,
    mergesMetrics: config?.enablePrometheusMerge,
    group: found.group,
    sidecars: found.sidecars,
    ...(found.unreadable && { unreadable: found.unreadable }),
  };
}

/** One ProxyConfig over another, by the agent's rule: fields replace each other, only the two maps are joined. */
export function mergedProxyConfig(below: JsonObject, above: JsonObject): JsonObject {
  const joined = (name: "proxyMetadata" | "proxyHeaders") =>
    name in below && name in above ? { [name]: { ...jsonObject(below[name]), ...jsonObject(above[name]) } } : {};
  return { ...below, ...above, ...joined("proxyMetadata"), ...joined("proxyHeaders") };
}

type ReadValue = (name: MeshValueName) => Decided | undefined;

function valueReader({ settings, found }: MeshOptions): ReadValue {
  const { description } = found;
  return (name) =>
    decided(settings.values.get(name), name) ?? decided(description?.values.get(name), description?.where ?? "");
}

function decided(value: string | undefined, rule: string): Decided | undefined {
  return value ? { value, rule } : undefined;
}

function addressOf({ settings, found, proxyConfig }: MeshOptions, value: ReadValue): Decided {
  const gateway = found.gatewayAddress;
  const own = found.meshConfig?.defaultConfig.discoveryAddress;
  const candidates = [
    decided(settings.values.get("XDS_ADDR"), "XDS_ADDR"),
    decided(textOf(proxyConfig.discoveryAddress), "discoveryAddress of the workload's ProxyConfig"),
    value("XDS_ADDR"),
    value("IMCON_ADDR"),
    value("MCON_ADDR"),
    isOutside(textOf(own)) ? decided(textOf(own), "discoveryAddress of the mesh's configuration") : undefined,
    decided(gateway, `Service ${ISTIO_NAMESPACE}/istio-eastwestgateway`),
  ];
  const [first] = candidates.filter((candidate) => candidate !== undefined && candidate.value !== "-");
  if (!first) throw unreachable(found);
  const address = hostPort(first.value, ISTIOD_PORT);
  if (!address) {
    throw settingInvalid(first.rule, "the address of the control plane is not host:port", "istiod.example:15012");
  }
  return { value: hostPortText(address), rule: first.rule };
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** Names of Services mean nothing outside their cluster. */
function isOutside(address: string | undefined): boolean {
  const host = address === undefined ? undefined : hostPort(address, ISTIOD_PORT)?.host;
  return host !== undefined && !/\.svc(?:\.|$)/.test(host);
}

function unreachable({ unreadable = [] }: MeshFound): KrunError {
  const gateway = `Service ${ISTIO_NAMESPACE}/istio-eastwestgateway`;
  const [known, other] = unreadable.includes("services")
    ? [`krun may not read ${gateway}, and nothing else says`, "let krun read that Service (docs/rights.md)"]
    : ["nothing says", `expose istiod by a ${gateway}`];
  return new KrunError(
    "MeshUnknown",
    `Cannot join the mesh: ${known} how its control plane is reached from outside the cluster`,
    `set XDS_ADDR=<host>:15012, or ${other}; XDS_ADDR=- starts without a mesh`,
  );
}

/** A control plane on the port of HTTPS is a service of some provider, with a certificate that everybody believes. */
function rootOf(
  value: ReadValue,
  { port, xdsRoot }: { port: number; xdsRoot: string | undefined },
): [root: IstiodRoot, rule: string] {
  if (xdsRoot !== undefined) {
    return [xdsRoot === "SYSTEM" ? { kind: "system" } : { kind: "file", path: xdsRoot }, "XDS_ROOT_CA"];
  }
  const own = value("CAROOT_ISTIOD");
  if (own) return [{ kind: "pem", pem: own.value }, own.rule];
  if (port === 443) return [{ kind: "system" }, "the control plane is on port 443"];
  return [{ kind: "config-map" }, "ConfigMap istio-ca-root-cert"];
}

/** istiod's certificate has its names in the cluster: another name, and every IP address, needs one of them to be asked for. */
function sanOf(host: string, { root, revision }: { root: IstiodRoot; revision: string }): Decided | undefined {
  if (root.kind === "system" || /^istiod[\w-]*\.[\w-]+\.svc$/.test(host)) return undefined;
  const rule = `istiod's own name, since it is reached as ${host}`;
  return { value: `${revisionedName("istiod", revision)}.${ISTIO_NAMESPACE}.svc`, rule };
}
