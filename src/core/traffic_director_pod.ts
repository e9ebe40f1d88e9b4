/**
 * A planned Pod as a client of Traffic Director. In: the Pod that settings and manifest ask for, how it joins, what is known of the
 * machine. Out: the Pod with its files and, unless gRPC is to do it alone, with Envoy.
 *
 * @module
 */
import type { V1ConfigMap, V1Container, V1EnvVar, V1Pod, V1Volume } from "@kubernetes/client-node";
import { withoutExpansion } from "./expansion.ts";
import { ISTIO_PROXY, MESH_PATHS, type MeshPorts, PROXY_USER } from "./istio_proxy.ts";
import { hostPortText, type MeshMode, type MeshSettings } from "./mesh_settings.ts";
import { defaultPod } from "./pod_defaults.ts";
import type { PlannedPod } from "./pod_from_settings.ts";
import type { TrafficDirector } from "./traffic_director.ts";
import { captureAnnotations, captureMetadata, INTERCEPTION_PORT } from "./traffic_director_capture.ts";
import { READY_PATH, trafficDirectorEnvoyBootstrap } from "./traffic_director_envoy.ts";
import { trafficDirectorGrpcBootstrap } from "./traffic_director_grpc.ts";
import { trafficDirectorNode, type TrafficDirectorNodeOptions, type XdsNode } from "./traffic_director_node.ts";

/** Options of {@linkcode trafficDirectorPod}. */
export interface TrafficDirectorPodOptions
  extends Pick<TrafficDirectorNodeOptions, "workloadName" | "nodeId" | "zone" | "ip" | "environment"> {
  readonly mode: MeshMode;
  /** With `trafficDirector`. */
  readonly settings: MeshSettings;
  /** Final path of Envoy; unset only in mode proxyless. */
  readonly envoy?: string | undefined;
  readonly ports: MeshPorts;
  /** Gives the final path of a path in the Pod: `mountPath()` of core/mount_path.ts. */
  place(path: string): string;
  /** krun's own user and group. */
  readonly self: { readonly uid: number; readonly gid: number };
  /** Another name for the Pod: of two instances of a workload each has its own. Unset: it has one of its own. */
  readonly podName?: string | undefined;
  /** HOME, below which a user's own Google credentials lie. */
  readonly home?: string | undefined;
  /** SSL_CERT_FILE. */
  readonly certFile?: string | undefined;
  /** Value of NO_PROXY for the program, mode proxy. */
  readonly noProxy: string;
  /** KRUN_PASS_ENV. */
  readonly passEnv: readonly string[];
}

/** What comes of it. */
export interface TrafficDirectorPod {
  readonly planned: PlannedPod;
  /** Where Envoy is asked, on loopback, whether it is ready: 200. Unset: there is no proxy, and the program may start at once. */
  readonly readiness?: { readonly port: number; readonly path: string };
}

/** Whoever asks for the volume and the variables. */
const ORIGIN = "Traffic Director";

/** Where the files are, as in a Pod. */
const FOLDER = "/etc/krun/traffic-director";
const ENVOY_FILE = "envoy.json", GRPC_FILE = "grpc.json";

/** An object of krun's own, whose name no object in a cluster can have, and the volume of it. */
const CONFIG_MAP = "krun:traffic-director", VOLUME = "traffic-director";

/**
 * The Pod with what Traffic Director needs. Envoy is the init container `istio-proxy`, which goes on running: the name by which
 * krun knows the mesh's proxy.
 *
 * @throws {KrunError} as `trafficDirectorNode`
 */
export function trafficDirectorPod(planned: PlannedPod, options: TrafficDirectorPodOptions): TrafficDirectorPod {
  const { mode, settings, ports, podName, self } = options;
  const mesh = settings.trafficDirector!;
  const hasEnvoy = mode !== "proxyless";
  const { metadata } = planned.pod;
  const annotations = { ...metadata?.annotations };
  const pod: V1Pod = {
    ...planned.pod,
    metadata: {
      ...metadata,
      ...(podName !== undefined && { name: podName }),
      annotations: mode === "intercept" ? captureAnnotations(annotations) : annotations,
    },
  };
  const file = hasEnvoy ? envoyFile(mesh, { ...options, pod }) : grpcFile(mesh, { ...options, pod });
  const env = programEnv(mesh, { ...options, pod });
  const merged = defaultPod(mergedPod(pod, { ...options, program: planned.program, env }), self);
  return {
    planned: {
      ...planned,
      pod: merged,
      origins: new Map([
        ...planned.origins,
        [VOLUME, ORIGIN],
        ...env.map(({ name }) => [`env:${planned.program}/${name}`, ORIGIN] as const),
      ]),
      localObjects: new Map([...planned.localObjects, [`ConfigMap/${CONFIG_MAP}`, configMap(file)]]),
      ownContainers: new Set([...planned.ownContainers, ...hasEnvoy ? [ISTIO_PROXY] : []]),
      warnings: [...planned.warnings, ...credentialWarnings(options)],
    },
    ...(hasEnvoy && { readiness: { port: ports.ready, path: READY_PATH } }),
  };
}

/** Name and text of the one file. */
type BootstrapFile = Readonly<Record<string, string>>;

type WithPod = TrafficDirectorPodOptions & { readonly pod: V1Pod };

function envoyFile(mesh: TrafficDirector, options: WithPod): BootstrapFile {
  const { pod, ports, settings, mode } = options;
  const programPorts = (pod.spec?.containers ?? []).flatMap((container) => container.ports ?? [])
    .filter(({ protocol = "TCP" }) => protocol === "TCP").map(({ containerPort }) => containerPort);
  const annotations = mode === "intercept" ? pod.metadata?.annotations : undefined;
  const listens = mode === "intercept" || mesh.mesh !== undefined;
  const proxyMetadata = listens ? captureMetadata(annotations ?? {}, programPorts) : {};
  const node = nodeOf(mesh, { ...options, proxyMetadata });
  return { [ENVOY_FILE]: trafficDirectorEnvoyBootstrap({ node, ports, server: serverOf(settings) }) };
}

function grpcFile(mesh: TrafficDirector, options: WithPod): BootstrapFile {
  const { settings, place } = options;
  const certificates = place(MESH_PATHS.workloadCertificates);
  const node = nodeOf(mesh, options);
  return { [GRPC_FILE]: trafficDirectorGrpcBootstrap(mesh, { node, certificates, server: serverOf(settings) }) };
}

function nodeOf(mesh: TrafficDirector, options: WithPod & Pick<TrafficDirectorNodeOptions, "proxyMetadata">): XdsNode {
  return trafficDirectorNode(mesh, { ...options, agentEnv: options.settings.agentEnv });
}

function serverOf({ address }: MeshSettings): string | undefined {
  return address && hostPortText(address);
}

function configMap(data: BootstrapFile): V1ConfigMap {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name: CONFIG_MAP }, data: { ...data } };
}

/** What makes a program's own libraries use the mesh. */
function programEnv(mesh: TrafficDirector, options: WithPod): V1EnvVar[] {
  const { mode, settings, pod, workloadName, noProxy, place } = options;
  if (settings.gateway !== undefined || mode === "intercept") return [];
  if (mode === "proxy") {
    // Only a Mesh's listener takes requests whatever their destination; every other address is in Google's configuration.
    if (mesh.mesh === undefined) return [];
    const values = { HTTP_PROXY: `http://127.0.0.1:${INTERCEPTION_PORT}`, NO_PROXY: noProxy };
    return plain({ ...values, http_proxy: values.HTTP_PROXY, no_proxy: values.NO_PROXY });
  }
  const labels = pod.metadata?.labels ?? {};
  return plain({
    GRPC_XDS_BOOTSTRAP: `${place(FOLDER)}/${GRPC_FILE}`,
    // Releases of gRPC before 2022 do what their server says of TLS and authorization only if told.
    GRPC_XDS_EXPERIMENTAL_SECURITY_SUPPORT: "true",
    GRPC_XDS_EXPERIMENTAL_RBAC: "true",
    // As which gRPC's own metrics of the mesh name the workload to its peers.
    CSM_WORKLOAD_NAME: workloadName,
    CSM_CANONICAL_SERVICE_NAME: labels["service.istio.io/canonical-name"] ?? labels["app"] ?? workloadName,
  });
}

function plain(values: Readonly<Record<string, string>>): V1EnvVar[] {
  return Object.entries(values).map(([name, value]) => ({ name, value: withoutExpansion(value) }));
}

function mergedPod(
  pod: V1Pod,
  options: TrafficDirectorPodOptions & { readonly program: string; readonly env: readonly V1EnvVar[] },
): V1Pod {
  const spec = pod.spec!;
  const volume: V1Volume = { name: VOLUME, configMap: { name: CONFIG_MAP } };
  const proxy = options.mode === "proxyless" ? [] : [envoyContainer(pod, options)];
  return {
    ...pod,
    spec: {
      ...spec,
      // Before the others: they too may call into the mesh.
      initContainers: [...proxy, ...spec.initContainers ?? []],
      containers: spec.containers.map((container) =>
        container.name === options.program ? programIn(container, options) : container
      ),
      volumes: [...spec.volumes ?? [], volume],
    },
  };
}

/** What the manifest itself says of a variable counts. */
function programIn(
  container: V1Container,
  { mode, env }: Pick<TrafficDirectorPodOptions, "mode"> & { readonly env: readonly V1EnvVar[] },
): V1Container {
  const names = new Set(container.env?.map(({ name }) => name));
  const mounts = mode === "proxyless" ? [MOUNT] : [];
  return {
    ...container,
    env: [...container.env ?? [], ...env.filter(({ name }) => !names.has(name))],
    volumeMounts: [...container.volumeMounts ?? [], ...mounts],
  };
}

const MOUNT = { name: VOLUME, mountPath: FOLDER };

function envoyContainer(pod: V1Pod, options: TrafficDirectorPodOptions): V1Container {
  const { ports, self, envoy = "envoy", place, settings } = options;
  const probe = { httpGet: { path: READY_PATH, port: ports.ready }, timeoutSeconds: 3 };
  return {
    name: ISTIO_PROXY,
    restartPolicy: "Always",
    command: [
      envoy,
      ...["--config-path", `${place(FOLDER)}/${ENVOY_FILE}`],
      ...logArgs(settings.agentDebug, pod.metadata?.annotations?.["sidecar.istio.io/logLevel"]),
      // It shares memory with another Envoy of this machine otherwise.
      "--disable-hot-restart",
      ...["--drain-strategy", "immediate"],
      ...["--concurrency", "2"],
    ],
    env: plain(envoyEnv(options)),
    volumeMounts: [MOUNT],
    startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 600 },
    readinessProbe: { ...probe, periodSeconds: 15, failureThreshold: 4 },
    securityContext: self.uid === 0 ? { runAsUser: PROXY_USER, runAsGroup: PROXY_USER, runAsNonRoot: true } : {},
  };
}

/** Where Envoy's library for Google's APIs looks for credentials and CAs; another user than krun's has no HOME here. */
function envoyEnv({ settings, home, certFile, self }: TrafficDirectorPodOptions): Record<string, string> {
  const { googleCredentials } = settings;
  return {
    ...(googleCredentials && { GOOGLE_APPLICATION_CREDENTIALS: googleCredentials }),
    ...(home && self.uid !== 0 && { HOME: home }),
    ...(certFile && { GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: certFile }),
  };
}

/** Istio's words for levels that Envoy calls otherwise. */
const LEVELS: Readonly<Record<string, string>> = { warn: "warning", fatal: "critical", none: "off" };

/** XDS_AGENT_DEBUG for an Envoy without an agent: `default:LEVEL` is the level of all, another scope a component of Envoy. */
function logArgs(debug: string | undefined, annotated = "warning"): string[] {
  const pairs = (debug ?? "").split(",").filter((pair) => pair !== "").map((pair) => pair.trim().split(":"));
  const level = (word = "debug") => LEVELS[word] ?? word;
  const all = pairs.find(([scope]) => scope === "default");
  const components = pairs.filter(([scope]) => scope !== "default").map(([scope, word]) => `${scope}:${level(word)}`);
  return [
    ...["--log-level", all ? level(all[1]) : level(annotated)],
    ...(components.length > 0 ? ["--component-log-level", components.join(",")] : []),
  ];
}

function credentialWarnings({ mode, settings, passEnv }: TrafficDirectorPodOptions): string[] {
  const name = "GOOGLE_APPLICATION_CREDENTIALS";
  if (mode !== "proxyless" || settings.googleCredentials === undefined || passEnv.includes(name)) return [];
  return [`${name} is krun's alone, and the program itself asks Traffic Director; KRUN_PASS_ENV=${name} hands it on`];
}
