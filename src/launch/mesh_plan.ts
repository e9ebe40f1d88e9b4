/**
 * Whether and how the workload joins a mesh. In: a plan without one. Out: the plan with the proxy in its Pod, or as it was.
 *
 * @module
 */
import type { Cluster } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { envoyBootstrapTemplate } from "../core/envoy_bootstrap.ts";
import { HBONE_PORTS, type HbonePlan, hbonePlan, type NoHbone, wantsHbone } from "../core/hbone_plan.ts";
import type { Identity } from "../core/identity.ts";
import { MESH_PATHS, MESH_PORTS, type MeshPlaces, type MeshPorts, OWN_BOOTSTRAP_FILE } from "../core/istio_proxy.ts";
import type { Logger } from "../core/log.ts";
import { mergedProxyConfig, type Mesh, meshOf, meshRevision, revisionedName } from "../core/mesh.ts";
import { type DecidedMode, type MeshMachine, meshMode } from "../core/mesh_mode.ts";
import { meshedPod } from "../core/mesh_pod.ts";
import { type JsonObject, jsonObject } from "../core/mesh_objects.ts";
import { mountPath } from "../core/mount_path.ts";
import { meshNoProxy } from "../core/no_proxy.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import { join } from "../core/posix_path.ts";
import { proxyMetadataEnv } from "../core/proxy_config.ts";
import type { Settings } from "../core/settings.ts";
import { sshPort } from "../core/ssh_settings.ts";
import { machineRoots } from "../kube/machine_roots.ts";
import { requireRuntime } from "../kube/runtime.ts";
import { findMesh } from "../mesh/find_mesh.ts";
import { BOOTSTRAP_TEMPLATE, isFile } from "../mesh/mesh_programs.ts";
import { parseText, readDescription } from "../mesh/mesh_text.ts";
import { freeMeshPorts } from "../mesh/ports.ts";
import { systemClock } from "../pod/clock.ts";
import { StartRetry } from "../pod/start_retry.ts";
import { lookAtNetwork, planInterception, type PlannedInterception } from "./interception.ts";
import type { Surroundings } from "./surroundings.ts";

/** How the workload is in the mesh. */
export interface MeshPlan {
  readonly mesh: Mesh;
  readonly mode: DecidedMode;
  readonly places: MeshPlaces;
  readonly ports: MeshPorts;
  /** Name of the WorkloadGroup that was looked for. */
  readonly groupName: string;
  /** What is captured, in mode intercept. */
  readonly interception?: PlannedInterception;
  /** How peers reach the program by HBONE through krun. */
  readonly hbone: HbonePlan | NoHbone;
}

/** A Pod in the mesh. */
export interface MeshedPlan {
  readonly planned: PlannedPod;
  readonly mesh: MeshPlan;
}

/** Label, once annotation, by which a Pod says that it wants no proxy; the label counts where both say something. */
const INJECT = "sidecar.istio.io/inject";

/** What {@linkcode planMesh} works on. */
export interface MeshPlanOptions {
  readonly settings: Settings;
  readonly cluster: Cluster;
  readonly identity: Identity;
  readonly planned: PlannedPod;
  /** The base folder, absolute. */
  readonly base: string;
  readonly machine: MeshMachine;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Requests are tried again until then, milliseconds since the epoch; in the past: each once. */
  readonly deadlineMs: number;
}

/**
 * Joins the mesh, where there is one: the Pod with its proxy. A text says in one clause why it joins none.
 *
 * @throws {KrunError} `MeshUnknown`, also when a setting asks for a mesh and there is none; `MeshUnavailable`, `Forbidden`,
 * `SettingInvalid`, `RuntimeTooOld`, and what a request throws.
 */
export async function planMesh(
  outer: Surroundings,
  options: MeshPlanOptions,
): Promise<MeshedPlan | string> {
  const { settings, planned, machine, log } = options;
  const labels = planned.pod.metadata?.labels ?? {};
  const annotations = planned.pod.metadata?.annotations ?? {};
  if ((labels[INJECT] ?? annotations[INJECT]) === "false") return `${INJECT} is false`;
  const revision = meshRevision(settings.mesh, labels);
  // Programs are tried while the cluster answers.
  const look = lookAtNetwork(outer, options);
  const groupName = settings.mesh.agentEnv.get("ISTIO_META_AUTO_REGISTER_GROUP") ?? options.identity.name.value;
  const found = await findMesh(options.cluster, {
    settings: settings.mesh,
    namespace: options.identity.namespace.value,
    groupName,
    revision: revision.value,
    log,
    retry: (what, call) => retried(what, { ...options, call }),
    description: await description(options),
  });
  if (found === undefined) {
    const reason = `the cluster has neither ConfigMap mesh-env nor ${
      revisionedName("istio", revision.value)
    } in istio-system`;
    const asked = settings.mesh.mode !== undefined ? "MESH_MODE" : settings.mesh.gateway && "GATEWAY_NAME";
    if (asked) throw noMeshToJoin(asked, reason);
    log.info("no mesh", { reason });
    return reason;
  }
  const incapable = hboneFault(settings);
  const proxyConfig = await workloadProxyConfig(settings, annotations);
  const mesh = meshOf({ settings: settings.mesh, found, revision, proxyConfig, labels });
  const envoy = await envoyPath(mesh.proxyConfig, machine);
  const interceptionMode = annotations["sidecar.istio.io/interceptionMode"];
  const switches = { ...proxyMetadataEnv(mesh.proxyConfig), ...Object.fromEntries(settings.mesh.agentEnv) };
  const interception = await planInterception(outer, look, {
    ...{ settings, planned, machine: { ...machine, envoy } },
    dnsCapture: switches.ISTIO_META_DNS_CAPTURE !== "false",
    dualStack: switches.ISTIO_DUAL_STACK === "true",
    ownPorts: wantsHbone({ settings: settings.mesh, incapable }) ? HBONE_PORTS : [],
  });
  const interceptionFault = interception instanceof KrunError ? interception : undefined;
  const able = { ...machine, envoy, interceptionFault };
  const mode = meshMode(able, { settings: settings.mesh, interceptionMode });
  const { places, ownBootstrap } = await meshPlaces(able, options);
  const plan = {
    ...{ mesh, mode, places, ports: portsFor(mode), groupName },
    ...(mode.mode === "intercept" && { interception: interception as PlannedInterception }),
  };
  const joined = podOf(outer, { ...options, plan, ownBootstrap });
  const hbone = hbonePlan({
    ...{ settings: settings.mesh, incapable, pod: joined.pod, ownContainers: joined.ownContainers },
    addresses: Deno.networkInterfaces().map(({ address }) => address),
    names: [Deno.hostname()],
    clusterDomain: mesh.clusterDomain,
    sshPort: sshPort(settings.ssh),
  });
  const hboneWarnings = incapable === undefined ? [] : [`peers of the mesh cannot call by HBONE: ${incapable}`];
  const warnings = [...joined.warnings, ...await strayCertificates(options), ...hboneWarnings];
  return { mesh: { ...plan, hbone }, planned: { ...joined, warnings } };
}

/**
 * Why this runtime cannot have an HBONE endpoint; `undefined`: it can, or nobody is to have one.
 *
 * @throws {KrunError} `RuntimeTooOld` where the endpoint is asked for
 */
function hboneFault({ mesh: { hbonePeers, gateway } }: Settings): string | undefined {
  if (hbonePeers === "none" || gateway !== undefined) return undefined;
  try {
    requireRuntime("2.9.0", "HBONE_ALLOW");
    return undefined;
  } catch (cause) {
    if (hbonePeers !== undefined || !(cause instanceof KrunError)) throw cause;
    return cause.message.replace(/^.*?: /, "");
  }
}

/** A program that was to be in a mesh does not start in plain text by accident. */
function noMeshToJoin(asked: string, reason: string): KrunError {
  const hint = `set XDS_ADDR=<host>:15012, or unset ${asked} to start without a mesh`;
  return new KrunError("MeshUnknown", `Cannot join the mesh that ${asked} asks for: ${reason}`, hint);
}

/** What an agent's package may have left behind on a machine: the agent takes it, and asks nobody for a certificate. */
async function strayCertificates({ base, settings }: MeshPlanOptions): Promise<string[]> {
  const { mountedFiles = false, ownFolder } = settings.mesh.certificates ?? {};
  const files = ["cert-chain.pem", "key.pem"].map((name) => join(base, "etc/certs", name));
  const isThere = await Promise.all(files.map(isFile));
  if (mountedFiles || ownFolder !== undefined || !isThere.every(Boolean)) return [];
  return [
    `${files[0]} is the workload's certificate, whatever the mesh would sign: remove it, or set FILE_MOUNTED_CERTS`,
  ];
}

/**
 * Ports for the proxy. What is captured is captured for the usual ones; elsewhere several proxies can be on a machine.
 *
 * @throws {KrunError} `MeshUnavailable`
 */
export function portsFor({ mode }: DecidedMode): MeshPorts {
  const ports = mode === "intercept" ? MESH_PORTS : freeMeshPorts(MESH_PORTS);
  if (ports) return ports;
  throw new KrunError(
    "MeshUnavailable",
    "Cannot join the mesh: no ports for its proxy are free",
    "end what uses them; MESH_OPTIONAL=true or XDS_ADDR=- starts without the mesh",
  );
}

async function retried<T>(
  what: string,
  { call, ...options }: MeshPlanOptions & { call(signal: AbortSignal): Promise<T> },
): Promise<T> {
  using retry = new StartRetry({ ...options, clock: systemClock, random: Math.random });
  return await retry.call(what, call);
}

async function description({ settings, signal }: MeshPlanOptions) {
  const url = settings.mesh.description;
  const roots = () => machineRoots(settings.cluster.certFile);
  return url && await readDescription(url, { roots, signal });
}

/** PROXY_CONFIG over the annotation. */
async function workloadProxyConfig(
  settings: Settings,
  annotations: Readonly<Record<string, string>>,
): Promise<JsonObject> {
  const texts = [
    [annotations["proxy.istio.io/config"], 'annotation "proxy.istio.io/config"'],
    [settings.mesh.proxyConfig, "PROXY_CONFIG"],
  ] as const;
  const values = await Promise.all(texts.map(([text, where]) => text === undefined ? {} : parseText(text, where)));
  return values.map(jsonObject).reduce(mergedProxyConfig);
}

async function envoyPath({ binaryPath }: JsonObject, { envoy }: MeshMachine): Promise<string | undefined> {
  return typeof binaryPath === "string" && await isFile(binaryPath) ? binaryPath : envoy;
}

async function meshPlaces({ agent, envoy }: MeshMachine, { base, planned }: MeshPlanOptions) {
  const place = (path: string) => mountPath(path, { base, cwd: "/", aliases: planned.baseAliases });
  const hasTemplate = await isFile(BOOTSTRAP_TEMPLATE);
  const places: MeshPlaces = {
    agent: agent ?? "pilot-agent",
    envoy,
    root: base,
    config: place(MESH_PATHS.config),
    bootstrap: hasTemplate ? BOOTSTRAP_TEMPLATE : `${place(MESH_PATHS.ownBootstrap)}/${OWN_BOOTSTRAP_FILE}`,
    grpcBootstrap: place(MESH_PATHS.grpcBootstrap),
    certificates: place(MESH_PATHS.certificates),
  };
  return { places, ownBootstrap: hasTemplate ? undefined : envoyBootstrapTemplate() };
}

function podOf(
  { env, self }: Surroundings,
  options: MeshPlanOptions & { readonly plan: Omit<MeshPlan, "hbone">; readonly ownBootstrap: string | undefined },
): PlannedPod {
  const { settings, cluster, identity, planned, plan, ownBootstrap } = options;
  return meshedPod(planned, {
    ...plan,
    mode: plan.mode.mode,
    settings: settings.mesh,
    workloadName: planned.pod.metadata?.labels?.["service.istio.io/workload-name"] ?? identity.name.value,
    cloudPlatform: settings.cloudRun ? "gcp" : "none",
    self,
    podName: instancePodName({ identity, planned, settings }),
    ownBootstrap,
    noProxy: meshNoProxy(env.NO_PROXY ?? env.no_proxy, cluster.endpoint?.server),
  });
}

/** The Pod's name where it has none yet for this instance alone: `undefined` where a manifest or the platform names it. */
export function instancePodName(
  { identity, planned, settings }: Pick<MeshPlanOptions, "identity" | "planned" | "settings">,
): string | undefined {
  if (identity.name.rule === "KRUN_POD" || planned.pod.metadata?.name !== identity.name.value) return undefined;
  return instanceName(settings.platform?.revision ?? Deno.hostname());
}

/** A Pod's name for this instance alone: that of the revision or host, and five letters as a ReplicaSet gives them. */
export function instanceName(of: string): string {
  const letters = "bcdfghjklmnpqrstvwxz2456789";
  const random = Array.from(crypto.getRandomValues(new Uint8Array(5)), (byte) => letters[byte % letters.length]);
  const name = of.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-").slice(0, 57).replaceAll(/^-+|-+$/g, "");
  return `${name === "" ? "krun" : name}-${random.join("")}`;
}
