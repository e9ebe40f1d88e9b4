/**
 * The environment of the mesh agent: what the injector gives it, and what a workload outside the cluster needs besides. It is
 * built from nothing: nothing of the program's is in it.
 *
 * Source: manifests/charts/istio-control/istio-discovery/files/injection-template.yaml and pkg/istio-agent of Istio 1.31.
 *
 * @module
 */
import type { V1Container, V1EnvVar, V1Pod } from "@kubernetes/client-node";
import { certificateEnv } from "./certificate_source.ts";
import { withoutExpansion } from "./expansion.ts";
import type { Mesh } from "./mesh.ts";
import type { MeshMode, MeshSettings } from "./mesh_settings.ts";
import type { MeshPlaces, MeshPorts } from "./istio_proxy.ts";
import { agentProxyConfig, askKrun, proxyMetadataEnv } from "./proxy_config.ts";

/** Threads of Envoy: the CPU limit of an injected proxy. */
const CPU_LIMIT = "2";

/** Options of {@linkcode agentEnv}. */
export interface AgentEnvOptions {
  /** With its final labels and annotations. */
  readonly pod: V1Pod;
  /** The container whose ports the mesh is told of. */
  readonly program: V1Container;
  readonly mesh: Mesh;
  readonly mode: MeshMode;
  readonly settings: Pick<MeshSettings, "agentEnv" | "gateway" | "certificates">;
  readonly workloadName: string;
  readonly places: MeshPlaces;
  readonly ports: MeshPorts;
  /** Value of CLOUD_PLATFORM: whose metadata server, if any, the agent asks for its locality. */
  readonly cloudPlatform: "gcp" | "none";
}

/**
 * All variables. A later one of a name wins: over what krun knows comes what the mesh's ProxyConfig says, over that what the mode
 * is made of (with a mesh's ISTIO_META_DNS_CAPTURE an agent without Envoy would never be ready), and what the user has set is last.
 */
export function agentEnv(options: AgentEnvOptions): V1EnvVar[] {
  const { mesh, settings, pod, places } = options;
  return [
    ...fieldVariables(),
    ...plain({
      PILOT_CERT_PROVIDER: "istiod",
      ...(mesh.caAddress && { CA_ADDR: mesh.caAddress.value }),
      ...(mesh.san && { ISTIOD_SAN: mesh.san.value }),
      ...certificateEnv(settings.certificates, { mesh, pod, root: places.root }),
      TRUST_DOMAIN: mesh.trustDomain.value,
      ISTIO_CPU_LIMIT: CPU_LIMIT,
      GOMAXPROCS: CPU_LIMIT,
      // There is no cgroup of its own from which it could learn a limit, and it would complain.
      AUTOMEMLIMIT: "off",
      CLOUD_PLATFORM: options.cloudPlatform,
      OUTPUT_CERTS: places.certificates,
      // As krun's own probes do: it is the program's health that both tell of, on whatever address it listens.
      REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION: "true",
      ...envoyVariables(options),
      ...metadata(options),
      PROXY_CONFIG: proxyConfig(options),
      ...proxyMetadataEnv(mesh.proxyConfig),
      ...modeVariables(options),
      ...Object.fromEntries(settings.agentEnv),
    }),
  ];
}

function fieldVariables(): V1EnvVar[] {
  const fields = {
    POD_NAME: "metadata.name",
    POD_NAMESPACE: "metadata.namespace",
    INSTANCE_IP: "status.podIP",
    HOST_IP: "status.hostIP",
    SERVICE_ACCOUNT: "spec.serviceAccountName",
    ISTIO_META_NODE_NAME: "spec.nodeName",
  };
  return Object.entries(fields).map(([name, fieldPath]) => ({
    name,
    valueFrom: { fieldRef: { apiVersion: "v1", fieldPath } },
  }));
}

function plain(values: Readonly<Record<string, string>>): V1EnvVar[] {
  return Object.entries(values).map(([name, value]) => ({ name, value: withoutExpansion(value) }));
}

function envoyVariables({ mode, ports, places }: AgentEnvOptions): Record<string, string> {
  if (mode === "proxyless") return {};
  return {
    ENVOY_STATUS_PORT: `${ports.ready}`,
    ENVOY_PROMETHEUS_PORT: `${ports.prometheus}`,
    ISTIO_BOOTSTRAP: places.bootstrap,
    // Outside the cluster nobody else knows the names of its Services.
    ...(mode === "intercept" && { ISTIO_META_DNS_CAPTURE: "true" }),
  };
}

/** What istiod is told of the workload. */
function metadata({ pod, program, mesh, workloadName }: AgentEnvOptions): Record<string, string> {
  const { namespace = "default", name = "", annotations = {} } = pod.metadata ?? {};
  const containers = (pod.spec?.containers ?? []).map((container) => container.name);
  const ports = (pod.spec?.containers ?? []).flatMap((container) => container.ports ?? []);
  const metrics = mesh.mergesMetrics === false ? undefined : scrapedMetrics(annotations);
  return {
    ISTIO_META_CLUSTER_ID: mesh.clusterId.value,
    ISTIO_META_MESH_ID: mesh.meshId.value,
    ISTIO_META_WORKLOAD_NAME: workloadName,
    ISTIO_META_OWNER: `kubernetes://apis/v1/namespaces/${namespace}/pods/${name}`,
    ISTIO_META_APP_CONTAINERS: containers.join(",") || program.name,
    ISTIO_META_POD_PORTS: JSON.stringify(
      ports.map(({ name, containerPort, protocol = "TCP" }) => ({ name, containerPort, protocol })),
    ),
    ...(mesh.network && { ISTIO_META_NETWORK: mesh.network.value }),
    ...(mesh.group && { ISTIO_META_AUTO_REGISTER_GROUP: mesh.group.name }),
    ...(metrics && { ISTIO_PROMETHEUS_ANNOTATIONS: JSON.stringify(metrics) }),
  };
}

/** The agent does not start when it is to read the program's metrics at one of its own ports, Envoy's, or istiod's. */
const MESH_PORTS: readonly number[] = [15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090];

/** Where the program's metrics are; `undefined`: nowhere, or the agent is not to read them. */
function scrapedMetrics(annotations: Readonly<Record<string, string>>): Record<string, string> | undefined {
  const names = ["scrape", "path", "port"].map((key) => [key, annotations[`prometheus.io/${key}`] ?? ""] as const);
  const found = Object.fromEntries(names);
  const isOff = found.scrape === "false" || annotations["prometheus.istio.io/merge-metrics"] === "false";
  if (isOff || names.every(([, value]) => value === "")) return undefined;
  const port = found.port === "" ? 80 : /^\d{1,5}$/.test(found.port!) ? Number(found.port) : 0;
  return port >= 1 && port <= 65_535 && !MESH_PORTS.includes(port) ? found : undefined;
}

/** Facts on today's istiod: docs/decisions.md, "The mesh". */
function modeVariables({ mode, places, ports, settings }: AgentEnvOptions): Record<string, string> {
  if (mode === "intercept") {
    return { ISTIO_META_INTERCEPTION_MODE: "REDIRECT" };
  }
  if (mode === "proxyless") {
    return {
      DISABLE_ENVOY: "true",
      ISTIO_META_GENERATOR: "grpc",
      ISTIO_META_DNS_CAPTURE: "false",
      GRPC_XDS_BOOTSTRAP: places.grpcBootstrap,
    };
  }
  return {
    ISTIO_META_INTERCEPTION_MODE: "NONE",
    ISTIO_META_DNS_CAPTURE: "false",
    // Without it one Service on a port below 1024 keeps the proxy from ever being ready.
    ISTIO_META_UNPRIVILEGED_POD: "true",
    ...(settings.gateway === undefined && { ISTIO_META_HTTP_PROXY_PORT: `${ports.httpProxy}` }),
  };
}

function proxyConfig({ mesh, mode, places, ports }: AgentEnvOptions): string {
  return agentProxyConfig({ ...mesh.proxyConfig, proxyAdminPort: ports.admin, statusPort: ports.status }, {
    discoveryAddress: mesh.address.value,
    binaryPath: mode === "proxyless" ? undefined : places.envoy,
    configPath: places.config,
    readinessProbe: mesh.group && askKrun(ports.health),
  });
}
