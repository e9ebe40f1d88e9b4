/**
 * Everything a start decides before it touches a file: the cluster, who the workload is, and its Pod. `--check` prints it, a
 * start carries it out.
 *
 * @module
 */
import type { Cluster } from "../core/cluster.ts";
import type { CachedCluster } from "../core/cluster_cache.ts";
import { KrunError } from "../core/errors.ts";
import { type Identity, workloadIdentity } from "../core/identity.ts";
import { type MeshMachine, NO_AGENT } from "../core/mesh_mode.ts";
import { asksForMesh } from "../core/mesh_settings.ts";
import { SERVICE_ACCOUNT_FOLDER } from "../core/in_cluster.ts";
import type { Logger } from "../core/log.ts";
import { STATE_FOLDER } from "../core/mount_path.ts";
import { type PlannedPod, podFromSettings } from "../core/pod_from_settings.ts";
import { basename, dirname, join, resolve } from "../core/posix_path.ts";
import type { Settings } from "../core/settings.ts";
import { startFailure } from "../core/start_failure.ts";
import { mountedVolumes, podContainers } from "../core/volume_mounts.ts";
import { volumeNeeds } from "../core/volume.ts";
import { DATA_LINK, isOwnVersionName } from "../core/volume_plan.ts";
import { abortable } from "../kube/abort.ts";
import { requireRuntime } from "../kube/runtime.ts";
import { anyFile } from "../pod/special_files.ts";
import type { LazyGoogle } from "./lazy_google.ts";
import { leftOutBy, type LeftOutCluster, locateCluster, UNASKED_TIMEOUT_MS, warnOfLeftOut } from "./locate_cluster.ts";
import type { MeshPlan } from "./mesh_plan.ts";
import { readPodFile } from "./pod_file.ts";
import { ProbedCluster } from "./probed_cluster.ts";
import type { Surroundings } from "./surroundings.ts";
import type { TrafficDirectorPlan } from "./traffic_director_plan.ts";

/** What a start will do. */
export interface Plan {
  /** Undefined when nothing asks for one and none was found, or the found one was left out. */
  readonly cluster: Cluster | undefined;
  /** The cluster that was found and is of no use. */
  readonly leftOut?: LeftOutCluster;
  readonly identity: Identity;
  readonly planned: PlannedPod;
  /** Absolute path of the base folder. */
  readonly base: string;
  /** Why it is that one. */
  readonly baseRule: string;
  /** The base is locked and written in: there is something to mount, or MESH_BASE_DIR says which it is. */
  readonly takesBase: boolean;
  /** No container has a command: krun keeps the files fresh for somebody else. */
  readonly isSideProcess: boolean;
  /** How the workload is in a mesh, whose proxy the Pod then has; unset: it is in none. */
  readonly mesh?: MeshPlan;
  /** How it is a client of Traffic Director, instead. */
  readonly trafficDirector?: TrafficDirectorPlan;
  /** Why it is in no mesh, in one clause. */
  readonly noMesh?: string;
  /** Whether there is a mesh could not be found out, or it cannot be joined: `told` elsewhere, or passed over by MESH_OPTIONAL. */
  readonly meshFault?: "told" | "passed over";
  /** Where the cluster was found just now, for the next start. */
  readonly clusterToKeep?: CachedCluster;
}

/** Options of {@linkcode planRun}. */
export interface PlanOptions {
  readonly settings: Settings;
  /** The program and its arguments; empty: none was named. */
  readonly argv: readonly string[];
  readonly log: Logger;
  /** False: the signing key of a folder of manifests is not kept. @default {true} */
  readonly keepKey?: boolean;
  /** Ends it while it waits. */
  readonly signal?: AbortSignal;
  /** Where a cluster of Google Cloud is looked for. @default {nowhere} */
  readonly google?: LazyGoogle;
  /** Use no cluster, whatever could be found. @default {false} */
  readonly withoutCluster?: boolean;
  /** What this machine has for a mesh; unset: join none. */
  readonly machine?: MeshMachine | undefined;
  /** The mesh's objects are asked for again until then, milliseconds since the epoch. @default {each once} */
  readonly deadlineMs?: number;
  /** Told of a mesh that cannot be joined, and the plan is one without; unset: it throws. */
  onMeshFailure?(error: KrunError): void;
}

/**
 * As {@linkcode planRun}; where nothing asks for a cluster, one that was merely found and is of no use (its kubeconfig is
 * malformed, it is away, or krun has no rights there) is left out, with a warning: the program must not suffer for an old
 * `~/.kube/config`. Whether it is of use shows in the request for the workload's token, which the start then uses.
 *
 * @throws {KrunError} as {@linkcode planRun}; the signal's reason
 */
export async function planStart(outer: Surroundings, options: PlanOptions): Promise<Plan> {
  const plan = await planUseful(outer, options);
  await using onFailure = new AsyncDisposableStack();
  if (plan.cluster) onFailure.use(plan.cluster);
  const meshed = await withMesh(outer, plan, options);
  onFailure.move();
  return meshed;
}

/** Settings that mean nothing to a krun without a program. */
function idleSettings({ tunnel, ssh: { authorizedKeys, listen, rbac } }: Settings): string[] {
  const set = { KRUN_TUNNEL: tunnel, SSH_AUTH: authorizedKeys, KRUN_SSH: listen, KRUN_SSH_RBAC: rbac || undefined };
  return Object.entries(set).filter(([, value]) => value !== undefined)
    .map(([name]) => `${name} has no effect: there is no program`);
}

/** The plan with the mesh that its cluster has. @throws {KrunError} as {@linkcode planMesh} */
async function withMesh(outer: Surroundings, plan: Plan, options: PlanOptions): Promise<Plan> {
  const { cluster } = plan;
  const { settings: { mesh }, deadlineMs = 0, signal = new AbortController().signal } = options;
  if (mesh.off) return { ...plan, noMesh: "XDS_ADDR is -" };
  if (mesh.trafficDirector && !plan.isSideProcess) return await withTrafficDirector(outer, plan, options);
  if (cluster === undefined) return { ...plan, noMesh: "there is no cluster" };
  const isGateway = plan.isSideProcess && mesh.gateway !== undefined;
  if (plan.isSideProcess && !isGateway) return { ...plan, noMesh: "there is no program" };
  const { machine } = options;
  if (!machine || machine.agent === undefined && !asksForMesh(mesh)) return { ...plan, noMesh: NO_AGENT };
  const { planMesh } = await import("./mesh_plan.ts");
  try {
    const joined = await planMesh(outer, { ...options, ...plan, cluster, machine, deadlineMs, signal });
    if (typeof joined === "string") return { ...plan, noMesh: joined };
    return { ...plan, ...joined, takesBase: true, isSideProcess: false };
  } catch (cause) {
    return withoutMesh(plan, { ...options, cause });
  }
}

/** The plan of a client of Traffic Director. @throws {KrunError} as {@linkcode planTrafficDirector} */
async function withTrafficDirector(outer: Surroundings, plan: Plan, options: PlanOptions): Promise<Plan> {
  const { machine } = options;
  if (machine === undefined) return { ...plan, noMesh: "it is left out" };
  const { planTrafficDirector } = await import("./traffic_director_plan.ts");
  try {
    const joined = await planTrafficDirector(outer, { settings: options.settings, plan, machine });
    return { ...plan, ...joined, takesBase: true };
  } catch (cause) {
    return withoutMesh(plan, { ...options, cause });
  }
}

/** The plan where the mesh cannot be joined, if whoever starts krun allows it. @throws {KrunError} the cause, if not */
function withoutMesh(plan: Plan, { settings, log, onMeshFailure, cause }: PlanOptions & { cause: unknown }): Plan {
  if (!(cause instanceof KrunError) || cause.code === "Internal") throw cause;
  if (settings.mesh.optional) log.warn("starting without the mesh", { reason: cause.message });
  else if (onMeshFailure) onMeshFailure(cause);
  else throw cause;
  return { ...plan, noMesh: cause.message, meshFault: settings.mesh.optional ? "passed over" : "told" };
}

/** As {@linkcode planRun}, without a cluster that nobody asked for and that is of no use. */
async function planUseful(outer: Surroundings, options: PlanOptions): Promise<Plan> {
  const plan = await planRun(outer, options);
  const { cluster, planned: { pod } } = plan;
  const { clusterAskedBy, googleAccountAskedBy, google } = options.settings;
  if (!cluster || clusterAskedBy.length > 0) return plan;
  const decidesAccount = (google.workloadProvider ?? cluster.source.workloadProvider) !== undefined;
  // Without it the program would be somebody else at Google.
  if (decidesAccount && googleAccountAskedBy.length > 0) return plan;
  const [ref] = mountedVolumes(pod).flatMap((volume) => volumeNeeds(volume, pod).tokens);
  if (!ref) return plan; // Nothing will be asked of it.
  const signal = AbortSignal.any([AbortSignal.timeout(UNASKED_TIMEOUT_MS), ...options.signal ? [options.signal] : []]);
  try {
    const granted = await cluster.requestToken(ref, { signal });
    if (plan.takesBase && options.settings.baseDir === undefined) {
      // The base would be taken for that token alone.
      const { seeBase } = await import("../pod/checked_pod.ts");
      const [fault] = seeBase(plan.base).failures;
      if (fault) throw fault.error;
    }
    return { ...plan, cluster: new ProbedCluster(cluster, { ref, granted }) };
  } catch (cause) {
    await cluster[Symbol.asyncDispose]();
    options.signal?.throwIfAborted();
    const leftOut = { source: cluster.source, ...leftOutBy(cause) };
    warnOfLeftOut(options.log, leftOut);
    return { ...await planRun(outer, { ...options, withoutCluster: true }), leftOut };
  }
}

/**
 * Finds the cluster, decides the identity and makes the Pod. Asks the cluster nothing.
 *
 * @throws {KrunError} `ClusterNotFound` when something asks for one, `KubeconfigInvalid`, `ManifestInvalid`,
 * `NamespaceUnknown`, `SettingInvalid`, `PodInvalid`, `PathInvalid`, and what opening the cluster's credentials throws.
 */
export async function planRun(outer: Surroundings, options: PlanOptions): Promise<Plan> {
  const { settings, argv } = options;
  const [base, baseRule] = baseFolder(outer, settings);
  // Both are waited for: what one reads must not go on when the other has failed, and a found cluster is closed then.
  const reading = Promise.allSettled([
    settings.podFile === undefined ? undefined : readPodFile(resolve(outer.cwd, settings.podFile), anyFile),
    options.withoutCluster ? undefined : locateCluster(outer, { ...options, stateFolder: join(base, STATE_FOLDER) }),
  ]);
  const hasReferences = settings.references.variables.length > 0 || settings.references.source !== "process";
  const finding = hasReferences && !settings.references.off ? findReferences(outer, options) : undefined;
  finding?.catch(() => {}); // Heard below.
  // A file may be a pipe that nobody ever writes into.
  const instance = options.google?.instanceId(options.signal);
  const [podFile, search] = await abortable(reading, options.signal);
  await using onFailure = new AsyncDisposableStack();
  const cluster = onFailure.use(search.status === "fulfilled" ? search.value?.cluster : undefined);
  const manifest = valueOf(podFile);
  if (search.status === "rejected") throw await withFaults(search.reason, { finding, settings });
  const { leftOut, clusterToKeep } = search.value ?? {};
  const identity = workloadIdentity(settings.workload, { source: cluster?.source, manifest });
  const [instanceId, baseAliases, kubeletServiceAccount, homeKubeconfig] = await Promise.all([
    instance,
    aliasesOf(base, outer.env.PWD),
    // The program sees the machine's root, whatever krun's base is.
    isKubelets(SERVICE_ACCOUNT_FOLDER),
    isFile(join(settings.cluster.home ?? "/", ".kube", "config")),
  ]);
  const made = podFromSettings({
    settings,
    identity,
    argv,
    manifest,
    cluster,
    self: outer.self,
    base,
    baseAliases,
    podUid: crypto.randomUUID(),
    instanceId,
    kubeletServiceAccount,
    homeKubeconfig,
  });
  requireForProbes(made);
  if (made.tunnel) requireRuntime("2.9.0", "KRUN_TUNNEL");
  const isSideProcess = !(made.pod.spec?.containers ?? []).some((container) => container.command?.length);
  const planned = await finding?.then(({ plan }) => plan(made, isSideProcess)) ?? made;
  if (isSideProcess) requireFiles(planned);
  const idle = isSideProcess ? idleSettings(settings) : [];
  // In one-shot mode no krun stays that could hold a lock or be found again.
  const asksForBase = settings.baseDir !== undefined && !settings.oneShot;
  const takesBase = asksForBase || Boolean(planned.pod.spec?.volumes?.length);
  onFailure.move();
  const warned = { ...planned, warnings: [...planned.warnings, ...idle] };
  const place = await baseOfFiles(outer, { settings, planned, base, baseRule });
  const plan = { cluster, identity, planned: warned, ...place, takesBase, isSideProcess };
  return { ...plan, ...(leftOut && { leftOut }), ...(clusterToKeep && { clusterToKeep }) };
}

/** Why there is no cluster, and whatever else is wrong with references: all is told at once. */
async function withFaults(
  cause: unknown,
  { finding, settings }: { finding: ReturnType<typeof findReferences> | undefined; settings: Settings },
): Promise<unknown> {
  const faults = await finding?.then(({ faults }) => faults, () => []) ?? [];
  const { ofOwnCluster } = settings.references;
  if (!(cause instanceof KrunError) || cause.code === "Internal" || faults.length + ofOwnCluster.length === 0) {
    return cause;
  }
  const askedBy = ofOwnCluster.length > 0 ? ofOwnCluster : [""];
  return startFailure([...askedBy.map((askedBy) => ({ error: cause, askedBy })), ...faults]);
}

/** What makes a planned Pod one with the references of krun's environment; those of them that cannot be read. */
async function findReferences(outer: Surroundings, { settings, google, deadlineMs, signal }: PlanOptions) {
  const { findReferences, planReferences } = await import("./references.ts");
  const found = await findReferences(outer, { settings, google, deadlineMs, signal });
  const plan = (planned: PlannedPod, isSideProcess: boolean) =>
    planReferences(planned, found, { outer, settings, isSideProcess });
  return { faults: found.faults, plan };
}

/**
 * Where only files of references are made, which stand outside the base as well as inside, and the working directory cannot be
 * written in, krun's own folder lies beside temporary files. A program that reads a file from there needs no other.
 */
async function baseOfFiles(
  { self }: Surroundings,
  { settings, planned, base, baseRule }: Pick<Plan, "planned" | "base" | "baseRule"> & { settings: Settings },
): Promise<Pick<Plan, "base" | "baseRule">> {
  const { pod, references } = planned;
  const volumes = pod.spec?.volumes ?? [];
  const isOnly = volumes.length > 0 && volumes.every(({ name }) => references?.volumes.has(name));
  if (!isOnly || settings.baseDir !== undefined || self.uid === 0) return { base, baseRule };
  const { ownTempFolder } = await import("./own_temp_folder.ts");
  const folder = ownTempFolder({ cwd: base, tempFolder: settings.references.tempFolder, uid: self.uid });
  return folder === undefined
    ? { base, baseRule }
    : { base: folder, baseRule: "the working directory cannot be written in, and there are only files of references" };
}

function valueOf<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === "rejected") throw settled.reason;
  return settled.value;
}

/** A side process without files would wait for ever. */
function requireFiles({ pod }: PlannedPod): void {
  if (pod.spec?.volumes?.length) return;
  throw new KrunError(
    "NothingToDo",
    "Cannot start: no program is named, and there is nothing to mount",
    "name a program, as in krun ./server; krun --help lists the settings",
  );
}

/** The kubelet does not verify the certificate of an HTTPS probe or hook; a runtime that cannot do so is refused. */
function requireForProbes({ pod }: PlannedPod): void {
  for (const { name, startupProbe, livenessProbe, readinessProbe, lifecycle } of podContainers(pod)) {
    const handlers = [startupProbe, livenessProbe, readinessProbe, lifecycle?.postStart, lifecycle?.preStop];
    if (!handlers.some((handler) => handler?.httpGet?.scheme === "HTTPS")) continue;
    requireRuntime("2.9.0", `an HTTPS probe or hook of container "${name}"`);
  }
}

/** The base folder, absolute, and why it is that one. */
export function baseFolder({ self, cwd }: Surroundings, { baseDir }: Settings): [path: string, rule: string] {
  if (baseDir !== undefined) return [resolve(cwd, baseDir), "MESH_BASE_DIR"];
  return self.uid === 0 ? ["/", "krun is root"] : [cwd, "the working directory, since krun is not root"];
}

/** The base without links, and as the shell calls it that krun was started in. */
async function aliasesOf(base: string, workingDir: string | undefined): Promise<string[]> {
  const real = async (path: string) => await Deno.realPath(path).catch(() => undefined);
  const [own, shells] = await Promise.all([real(base), workingDir?.startsWith("/") ? real(workingDir) : undefined]);
  if (own === undefined || own === "/") return [];
  return [...own === base ? [] : [own], ...shells === own && workingDir !== base ? [workingDir!] : []];
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).isFile;
  } catch {
    return false;
  }
}

/**
 * The kubelet mounts its folder with a token in it. One that krun made there itself lies in the same file system as its
 * parent; an empty one is a place that somebody prepared, and a target as any other, also when a krun that was killed has
 * left its files in it.
 */
async function isKubelets(folder: string): Promise<boolean> {
  try {
    const [inside, outside] = await Promise.all([Deno.stat(folder), Deno.stat(dirname(folder))]);
    if (inside.dev === outside.dev) return false;
    await Deno.lstat(join(folder, "token"));
    const version = await Deno.readLink(join(folder, DATA_LINK)).catch(() => "");
    return !isOwnVersionName(basename(version));
  } catch {
    return false;
  }
}
