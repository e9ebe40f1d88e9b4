/**
 * Pods in a mesh for tests: from variables, a manifest and what a cluster would say, by the steps of a start, without a cluster.
 *
 * @module
 */
import { workloadIdentity } from "../src/core/identity.ts";
import { MESH_PORTS, type MeshPlaces } from "../src/core/istio_proxy.ts";
import { type MeshFound, meshOf, meshRevision } from "../src/core/mesh.ts";
import { meshedPod, type MeshedPodOptions } from "../src/core/mesh_pod.ts";
import type { JsonObject } from "../src/core/mesh_objects.ts";
import type { MeshMode } from "../src/core/mesh_settings.ts";
import { meshNoProxy } from "../src/core/no_proxy.ts";
import { type PlannedPod, podFromSettings } from "../src/core/pod_from_settings.ts";
import type { Env } from "../src/core/pod_inputs.ts";
import { parsePodManifest } from "../src/core/pod_manifest.ts";
import { parseSettings } from "../src/core/settings.ts";

/** A trial. */
export interface MeshTrial {
  readonly mode: MeshMode;
  /** krun's variables. */
  readonly env?: Env;
  /** KRUN_POD, parsed. */
  readonly manifest?: unknown;
  readonly argv?: readonly string[];
  /** @default {a cluster that says nothing} */
  readonly found?: MeshFound;
  /** The workload's own ProxyConfig. */
  readonly proxyConfig?: JsonObject;
  /** @default {root} */
  readonly self?: MeshedPodOptions["self"];
  readonly podName?: string;
  /** Text of krun's own bootstrap template, where the image has none. */
  readonly ownBootstrap?: string;
  readonly cloudPlatform?: "gcp" | "none";
  readonly places?: Partial<MeshPlaces>;
}

const ENDPOINT = { server: "https://10.0.0.1:6443", caPem: "CA" };

/** Where things are when krun is root. */
const PLACES: MeshPlaces = {
  agent: "/usr/local/bin/pilot-agent",
  envoy: "/usr/local/bin/envoy",
  root: "/",
  config: "/etc/istio/proxy",
  bootstrap: "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json",
  grpcBootstrap: "/etc/istio/proxy/grpc-bootstrap.json",
  certificates: "/var/lib/istio/data",
};

/** Workload `web` of namespace `shop`, whose control plane is 34.1.2.3:15012 unless the trial says otherwise. */
export function meshTrial(trial: MeshTrial): PlannedPod {
  const { mode, manifest: data, argv = ["./server"], found = {}, proxyConfig = {}, self = { uid: 0, gid: 0 } } = trial;
  const names = { WORKLOAD_NAMESPACE: "shop", WORKLOAD_NAME: "web", WORKLOAD_SERVICE_ACCOUNT: "web-sa" };
  const settings = parseSettings({ KUBECONFIG: "/k", XDS_ADDR: "34.1.2.3:15012", ...names, ...trial.env });
  const manifest = data === undefined ? undefined : parsePodManifest(data, "pod.yaml");
  const source = { kind: "kubeconfig", where: "/k", namespace: "shop" } as const;
  const identity = workloadIdentity(settings.workload, { manifest, source });
  const cluster = { source, endpoint: ENDPOINT };
  const planned = podFromSettings({ settings, identity, argv, manifest, cluster, self, base: "/", podUid: "u-1" });
  const labels = planned.pod.metadata?.labels ?? {};
  const revision = meshRevision(settings.mesh, labels);
  return meshedPod(planned, {
    mesh: meshOf({ settings: settings.mesh, found, revision, proxyConfig, labels }),
    mode,
    settings: settings.mesh,
    workloadName: identity.name.value,
    places: { ...PLACES, ...trial.places },
    ports: MESH_PORTS,
    cloudPlatform: trial.cloudPlatform ?? "none",
    self,
    podName: trial.podName,
    ownBootstrap: trial.ownBootstrap,
    noProxy: meshNoProxy(trial.env?.NO_PROXY, ENDPOINT.server),
  });
}

/** The variables of a container whose value is a text; the last one of a name. */
export function plainEnv({ pod }: PlannedPod, container: string): Env {
  const { initContainers = [], containers = [] } = pod.spec!;
  const { env = [] } = [...initContainers, ...containers].find(({ name }) => name === container)!;
  return Object.fromEntries(env.flatMap(({ name, value }) => value === undefined ? [] : [[name, value]]));
}
