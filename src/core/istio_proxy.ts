/**
 * The container `istio-proxy`, as the injector would add it to the Pod, with its volumes and what it changes in the rest of
 * the Pod. In: a Pod, the mesh, a mode. Out: parts of a Pod.
 *
 * @module
 */
import type {
  V1ConfigMap,
  V1Container,
  V1EnvVar,
  V1Pod,
  V1Probe,
  V1Volume,
  V1VolumeMount,
} from "@kubernetes/client-node";
import { bringsWorkloadFiles, keyVolumes, WORKLOAD_FILES } from "./certificate_source.ts";
import { withoutExpansion } from "./expansion.ts";
import { agentEnv } from "./istio_proxy_env.ts";
import { type Mesh, NETWORK_LABEL } from "./mesh.ts";
import { jsonObject } from "./mesh_objects.ts";
import type { MeshMode, MeshSettings } from "./mesh_settings.ts";
import { groupReadinessProbe } from "./proxy_config.ts";

/** Name of the container. */
export const ISTIO_PROXY = "istio-proxy";

/** User and group of agent and Envoy wherever krun can choose: the rules of interception leave them alone. */
export const PROXY_USER = 1337;

/** Ports of agent and Envoy. */
export interface MeshPorts {
  /** Envoy's admin endpoint, on loopback. @default {15000} */
  readonly admin: number;
  /** The agent's: health, metrics, drain. @default {15020} */
  readonly status: number;
  /** Envoy's health, which is the agent's. @default {15021} */
  readonly ready: number;
  /** Envoy's metrics. @default {15090} */
  readonly prometheus: number;
  /** The HTTP proxy for the program, mode proxy. @default {15007} */
  readonly httpProxy: number;
  /** krun's, on loopback: whether a workload of a WorkloadGroup may be called. @default {15018} */
  readonly health: number;
}

/** The injector's ports; the rules of interception know them. */
export const MESH_PORTS: MeshPorts = {
  admin: 15000,
  status: 15020,
  ready: 15021,
  prometheus: 15090,
  httpProxy: 15007,
  health: 15018,
};

/** Final paths on this machine. */
export interface MeshPlaces {
  readonly agent: string;
  readonly envoy: string | undefined;
  /** The agent's working directory: it looks for its files below it. */
  readonly root: string;
  /** Bootstrap and sockets. */
  readonly config: string;
  /** The bootstrap's template. */
  readonly bootstrap: string;
  readonly grpcBootstrap: string;
  /** The workload's certificate, key and root. */
  readonly certificates: string;
}

/** Where the agent has its files, as a Pod has them. */
export const MESH_PATHS = {
  config: "/etc/istio/proxy",
  grpcBootstrap: "/etc/istio/proxy/grpc-bootstrap.json",
  certificates: "/var/lib/istio/data",
  podInfo: "/etc/istio/pod",
  tokens: "/var/run/secrets/tokens",
  root: "/var/run/secrets/istio",
  crl: "/var/run/secrets/istio/crl",
  workloadSocket: "/var/run/secrets/workload-spiffe-uds",
  credentialSocket: "/var/run/secrets/credential-uds",
  workloadCertificates: WORKLOAD_FILES,
  ownBootstrap: "/etc/istio/krun",
} as const;

/** Name of the template that krun brings, in `MESH_PATHS.ownBootstrap`. */
export const OWN_BOOTSTRAP_FILE = "envoy_bootstrap.json";

/** Objects of krun's own, whose names no object in a cluster can have. */
const ROOT_CONFIG_MAP = "krun:istio-root", BOOTSTRAP_CONFIG_MAP = "krun:istio-bootstrap";

/** Options of {@linkcode istioProxy}. */
export interface IstioProxyOptions {
  /** With its final name; labels and annotations are those before the mesh's. */
  readonly pod: V1Pod;
  readonly program: V1Container;
  readonly mesh: Mesh;
  readonly mode: MeshMode;
  readonly settings: MeshSettings;
  readonly workloadName: string;
  readonly places: MeshPlaces;
  readonly ports: MeshPorts;
  readonly cloudPlatform: "gcp" | "none";
  /** As whom the agent runs. */
  readonly agentUser: V1Container["securityContext"];
  /** Text of the template, where the image has none. */
  readonly ownBootstrap?: string | undefined;
  /** Value of NO_PROXY for the program, mode proxy. */
  readonly noProxy: string;
}

/** Options of {@linkcode meshLabels}. */
export type MeshLabelsOptions = Pick<IstioProxyOptions, "pod" | "mesh" | "mode" | "settings" | "workloadName">;

/** Metadata of a proxy that takes tunnels. */
const HBONE = "ISTIO_META_ENABLE_HBONE";

/** Annotations by which the agent would change what krun has told it in PROXY_CONFIG, where the first one is in already. */
const FOR_THE_AGENT: readonly string[] = [
  "proxy.istio.io/config",
  "sidecar.istio.io/discoveryAddress",
  "status.sidecar.istio.io/port",
];

/** What the mesh adds to a Pod. */
export interface IstioProxyParts {
  /** An init container that goes on running. */
  readonly container: V1Container;
  readonly volumes: readonly V1Volume[];
  readonly localObjects: readonly V1ConfigMap[];
  /** For the Pod's metadata, where it does not say something else. */
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** For the program, where it does not say something else. */
  readonly programMounts: readonly V1VolumeMount[];
  readonly programEnv: readonly V1EnvVar[];
  readonly programProbe: V1Probe | undefined;
  /** Volumes that only the agent's user may enter: its token, its sockets, its keys, the Pod's own with keys for it too. */
  readonly privateVolumes: readonly string[];
}

/** The labels that the injector adds; its group's count as the workload's own. */
export function meshLabels({ pod, mesh, mode, settings, workloadName }: MeshLabelsOptions): Record<string, string> {
  const own = { ...mesh.group?.labels, ...pod.metadata?.labels };
  const name = own["app.kubernetes.io/name"] || own["app"] || workloadName;
  const revision = own["app.kubernetes.io/version"] || own["version"] || "latest";
  const hbone = settings.agentEnv.get(HBONE) ?? jsonObject(mesh.proxyConfig.proxyMetadata)[HBONE];
  return {
    "security.istio.io/tlsMode": "istio",
    "service.istio.io/canonical-name": trimmed(name.slice(0, 63)),
    "service.istio.io/canonical-revision": revision,
    ...(String(hbone) === "true" && mode !== "proxyless" && { "networking.istio.io/tunnel": "http" }),
    ...(mesh.network && { [NETWORK_LABEL]: mesh.network.value }),
    // What a Gateway of Istio's own charts selects.
    ...(settings.gateway !== undefined && { istio: settings.gateway }),
    // A label's value cannot hold a slash.
    ...(mesh.group?.locality && { "istio-locality": mesh.group.locality.replaceAll("/", ".") }),
    ...mesh.group?.labels,
  };
}

function trimmed(value: string): string {
  return value.replace(/^[-_.]+|[-_.]+$/g, "");
}

/** Makes the parts. */
export function istioProxy(options: IstioProxyOptions): IstioProxyParts {
  const { pod, mesh, mode } = options;
  const labels = { ...meshLabels(options), ...pod.metadata?.labels };
  const written = Object.entries(pod.metadata?.annotations ?? {}).filter(([name]) => !FOR_THE_AGENT.includes(name));
  const annotations = {
    "istio.io/rev": mesh.revision.value,
    "sidecar.istio.io/interceptionMode": mode === "intercept" ? "REDIRECT" : "NONE",
    ...Object.fromEntries(written),
  };
  const labelled = { ...pod, metadata: { ...pod.metadata, labels, annotations } };
  const { volumes, mounts, localObjects } = volumesOf(options);
  const shared = mode === "proxyless" ? ["istio-envoy", "istio-data"] : [];
  return {
    container: containerOf({ ...options, pod: labelled }, mounts),
    volumes,
    localObjects,
    labels,
    annotations,
    programMounts: mounts.filter(({ name }) => shared.includes(name)),
    programEnv: programEnv(options),
    // The agent never reads the group, and would run a command as its own user.
    programProbe: groupReadinessProbe(mesh.group?.probe ?? {}),
    privateVolumes: [
      ...volumes.filter(({ emptyDir, projected }) => emptyDir || projected).map(({ name }) => name),
      ...keyVolumes(options.settings.certificates, { pod, root: options.places.root }),
    ],
  };
}

function containerOf(options: IstioProxyOptions, volumeMounts: V1VolumeMount[]): V1Container {
  const { settings, mesh, mode, places, ports, agentUser, pod } = options;
  const logLevel = pod.metadata?.annotations?.["sidecar.istio.io/logLevel"] ?? "warning";
  const componentLogLevel = pod.metadata?.annotations?.["sidecar.istio.io/componentLogLevel"] ?? "misc:error";
  const agentLogLevel = settings.agentDebug ?? pod.metadata?.annotations?.["sidecar.istio.io/agentLogLevel"] ??
    "default:info";
  const probe = {
    httpGet: { path: "/healthz/ready", port: mode === "proxyless" ? ports.status : ports.ready },
    timeoutSeconds: 3,
  };
  return {
    name: ISTIO_PROXY,
    restartPolicy: "Always",
    command: [
      places.agent,
      "proxy",
      settings.gateway === undefined ? "sidecar" : "router",
      "--domain",
      `${pod.metadata?.namespace}.svc.${mesh.clusterDomain}`,
      `--proxyLogLevel=${logLevel}`,
      `--proxyComponentLogLevel=${componentLogLevel}`,
      `--log_output_level=${agentLogLevel}`,
      // Each line then says its level and its part, which krun's log shows.
      "--log_as_json",
    ],
    workingDir: places.root,
    env: agentEnv(options),
    volumeMounts,
    startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 600 },
    readinessProbe: { ...probe, periodSeconds: 15, failureThreshold: 4 },
    securityContext: { ...agentUser },
  };
}

function volumesOf({ pod, settings, mesh, mode, places, ownBootstrap }: IstioProxyOptions) {
  const memory = { emptyDir: { medium: "Memory" } };
  const fields = ["labels", "annotations"].map((path) => ({
    path,
    fieldRef: { apiVersion: "v1", fieldPath: `metadata.${path}` },
  }));
  const token = { serviceAccountToken: { audience: "istio-ca", expirationSeconds: 43_200, path: "istio-token" } };
  const parts: [name: string, path: string, source: Omit<V1Volume, "name">][] = [
    ["istio-token", MESH_PATHS.tokens, { projected: { sources: [token], defaultMode: 0o600 } }],
    ["istio-envoy", MESH_PATHS.config, memory],
    // Keys lie there, not only caches.
    ["istio-data", MESH_PATHS.certificates, memory],
    ["istio-podinfo", MESH_PATHS.podInfo, { downwardAPI: { items: fields } }],
    ["workload-socket", MESH_PATHS.workloadSocket, memory],
  ];
  // Empty, and no other, unless somebody wants it so: files there are taken for the workload's certificate.
  if (!bringsWorkloadFiles(settings.certificates, { pod, root: places.root })) {
    parts.push(["workload-certs", MESH_PATHS.workloadCertificates, memory]);
  }
  const withEnvoy = mode !== "proxyless";
  if (withEnvoy) parts.push(["credential-socket", MESH_PATHS.credentialSocket, memory]);
  const localObjects: V1ConfigMap[] = [];
  if (mesh.root.kind === "pem") localObjects.push(configMap(ROOT_CONFIG_MAP, { "root-cert.pem": mesh.root.pem }));
  if (mesh.root.kind === "pem" || mesh.root.kind === "config-map") {
    const name = mesh.root.kind === "pem" ? ROOT_CONFIG_MAP : "istio-ca-root-cert";
    parts.push(["istiod-ca-cert", MESH_PATHS.root, { configMap: { name } }]);
  }
  // The agent looks for it at that very path, whatever its working directory is.
  if (withEnvoy && places.root === "/") {
    parts.push(["istio-ca-crl", MESH_PATHS.crl, { configMap: { name: "istio-ca-crl", optional: true } }]);
  }
  if (withEnvoy && ownBootstrap !== undefined) {
    localObjects.push(configMap(BOOTSTRAP_CONFIG_MAP, { [OWN_BOOTSTRAP_FILE]: ownBootstrap }));
    parts.push(["istio-bootstrap", MESH_PATHS.ownBootstrap, { configMap: { name: BOOTSTRAP_CONFIG_MAP } }]);
  }
  return {
    volumes: parts.map(([name, , source]) => ({ name, ...source })),
    mounts: parts.map(([name, mountPath]) => ({ name, mountPath })),
    localObjects,
  };
}

function configMap(name: string, data: Record<string, string>): V1ConfigMap {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data };
}

/** What makes a program's own libraries use the mesh, in the modes that capture nothing. */
function programEnv({ mode, settings, places, ports, noProxy }: IstioProxyOptions): V1EnvVar[] {
  if (settings.gateway !== undefined || mode === "intercept") return [];
  if (mode === "proxyless") {
    return [
      { name: "GRPC_XDS_BOOTSTRAP", value: places.grpcBootstrap },
      // Releases of gRPC before 2022 do what their server says of TLS and authorization only if told.
      { name: "GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT", value: "true" },
      { name: "GRPC_XDS_EXPERIMENTAL_RBAC", value: "true" },
    ];
  }
  // Not for https: the mesh's proxy answers CONNECT with 404.
  const values = { HTTP_PROXY: `http://127.0.0.1:${ports.httpProxy}`, NO_PROXY: noProxy };
  return Object.entries(values).flatMap(([name, text]) => {
    const value = withoutExpansion(text);
    return [{ name, value }, { name: name.toLowerCase(), value }];
  });
}
