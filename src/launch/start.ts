/**
 * The order of a start and of a stop. In: what surrounds krun and its settings. Out: the exit status.
 *
 * @module
 */
import { cacheText, CLUSTER_CACHE } from "../core/cluster_cache.ts";
import { type ErrorCode, KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { containerRunAs } from "../core/run_as.ts";
import { podContainers } from "../core/volume_mounts.ts";
import { openBase } from "../pod/base_folder.ts";
import { systemClock } from "../pod/clock.ts";
import { loadLibc } from "../pod/libc.ts";
import { mountPod } from "../pod/mounted_pod.ts";
import { receiveSignals } from "../pod/signals.ts";
import { suspendSelf } from "../pod/terminal.ts";
import { Control } from "./control.ts";
import { LazyGoogle } from "./lazy_google.ts";
import { exemptOwnSockets, INTERCEPTION_NOTE, mayIntercept, meshMachine } from "./mesh_machine.ts";
import { nodeFacts } from "./node_facts.ts";
import { dropPermissions, isOutside } from "./permissions.ts";
import { Phases } from "./phases.ts";
import { type Plan, planStart } from "./plan.ts";
import type { Run, StartOptions } from "./run.ts";
import { Survivors } from "./survivors.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * Runs the program as a Pod until it ends, or keeps the files fresh until krun is told to stop.
 *
 * Resolves to the exit status: the program's own; 128 + signal where a signal ended the start. What was made is removed
 * before it resolves or throws.
 *
 * @throws {KrunError} every code that a start can fail with.
 */
export async function start(outer: Surroundings, options: StartOptions): Promise<number> {
  const control = new Control({ suspend: suspendSelf });
  loadLibc();
  await using receiving = new AsyncDisposableStack();
  receiving.use(receiveSignals((signal, { from }) => control.signal(signal, from)));
  const onUnforeseen = (event: PromiseRejectionEvent) => {
    // Without this Deno would end krun on the spot, and the program and its Secrets would stay behind. It is never taken away:
    // Deno 2.6 may tell of a rejection only after it was handled, when this start has long since failed with it.
    event.preventDefault();
    control.fail(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", onUnforeseen);
  // What a callback throws of whatever node's streams and servers call.
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    control.fail(event.error);
  });
  try {
    const status = await startInMesh(outer, { ...options, control });
    if (control.failure) throw control.failure.cause;
    return status;
  } catch (cause) {
    if (control.failure) throw control.failure.cause;
    if (control.by !== undefined && control.stop.aborted && cause === control.stop.reason) return 128 + control.by;
    throw cause;
  }
}

/** What one try of a start is given. */
interface StartTry extends StartOptions {
  readonly control: Control;
  /** Join no mesh, whatever could be found. @default {false} */
  readonly withoutMesh?: boolean;
  /** Why a start that was tried before could not intercept traffic. */
  readonly interceptionFault?: KrunError;
}

/** These say nothing of the mesh: they come after it. */
const NOT_OF_MESH: readonly string[] = ["ProgramNotFound", "ProgramNotExecutable", "Internal"] satisfies ErrorCode[];

/**
 * A start whose traffic cannot be intercepted after all is tried once more without that, unless MESH_MODE asks for it; and with
 * MESH_OPTIONAL one that fails in a mesh once more without the mesh.
 */
async function startInMesh(outer: Surroundings, options: StartTry): Promise<number> {
  const { settings: { mesh }, log, control } = options;
  let joined = false;
  try {
    return await startPod(outer, { ...options, onMesh: () => void (joined = true) });
  } catch (cause) {
    const isHopeless = !(cause instanceof KrunError) || NOT_OF_MESH.includes(cause.code);
    if (!joined || isHopeless || control.stop.aborted) throw cause;
    if (cause.code.startsWith("Interception") && mesh.mode === undefined && !options.interceptionFault) {
      return await startInMesh(outer, { ...options, interceptionFault: cause });
    }
    if (!mesh.optional) throw cause;
    log.warn("starting without the mesh", { reason: cause.message });
    return await startPod(outer, { ...options, withoutMesh: true });
  }
}

async function startPod(outer: Surroundings, options: StartTry & { onMesh?(): void }): Promise<number> {
  const { settings, log, onMesh } = options;
  await using undo = new AsyncDisposableStack();
  const phases = new Phases();
  const machine = options.withoutMesh || settings.mesh.off ? undefined : meshMachine(outer);
  if (machine && mayIntercept(outer, settings, machine)) exemptOwnSockets(log);
  const deadlineMs = settings.startTimeoutMs === 0 ? 0 : Date.now() + settings.startTimeoutMs;
  const google = undo.use(new LazyGoogle(outer, { settings, log, deadlineMs }));
  const plan = await planStart(outer, {
    ...options,
    google,
    machine: machine && { ...machine, interceptionFault: options.interceptionFault },
    deadlineMs,
    signal: options.control.stop,
  });
  if (plan.cluster) undo.use(plan.cluster);
  if (plan.mesh || plan.trafficDirector) onMesh?.();
  warnOfMesh(plan, { outer, log });
  requireUsers(plan, outer);
  if (settings.oneShot) (await import("./replace.ts")).onlyContainer(plan);
  for (const warning of [...settings.warnings, ...plan.planned.warnings]) log.warn(warning);
  const { inClusterFailure, hidesKubeconfig } = plan.planned;
  if (hidesKubeconfig) {
    log.info("the program gets an empty KUBECONFIG: the one of the home folder is krun's, not the workload's");
  }
  if (inClusterFailure) {
    log.info("a program that only knows the in-cluster configuration will not work", {
      reason: inClusterFailure,
    });
  }
  phases.end("plan");
  const outside = filesOutside(plan, outer);
  const confine = () => dropPermissions({ uid: outer.self.uid, base: plan.base, cwd: outer.cwd, outside, log });
  return await carryOut(outer, { ...options, plan, phases, undo, confine, google });
}

/** Files of references that are to be written outside the working directory. */
function filesOutside({ planned: { references } }: Plan, { cwd }: Surroundings): string[] {
  const paths = [...references?.bySecret.values() ?? []].flatMap(({ path }) => path ?? []);
  return paths.filter((path) => isOutside(path, cwd));
}

/** What was not expected of the mesh, where krun could have done better. */
function warnOfMesh({ mesh, trafficDirector }: Plan, { outer, log }: { outer: Surroundings; log: Logger }): void {
  const fault = (mesh ?? trafficDirector)?.mode.fault;
  if (fault && outer.self.uid === 0) {
    log.warn("the program's traffic is not captured", { reason: fault.message, hint: fault.hint });
  }
}

/**
 * Refuses a user whom krun may not become before anything is made; later it would be met as a file that krun may not give away.
 * The verdict is the same for every /etc/passwd and /etc/group.
 */
function requireUsers({ planned: { pod } }: Plan, { self }: Surroundings): void {
  for (const container of podContainers(pod)) containerRunAs(container, { pod, self, passwd: "", group: "" });
}

/** What {@linkcode carryOut} is given. */
export interface CarryOutOptions extends StartOptions {
  readonly plan: Plan;
  readonly control: Control;
  readonly phases: Phases;
  /** For the program's Google tokens. @default {it gets none} */
  readonly google?: LazyGoogle;
  /** Gives up the permissions that are not needed from here on; called before the first file is touched. */
  confine?(): void;
  /** Takes what must be undone at the end. */
  readonly undo: AsyncDisposableStack;
}

/** Makes a plan true: files, then the program, then freshness until the end. Resolves to the exit status. */
export async function carryOut(outer: Surroundings, options: CarryOutOptions): Promise<number> {
  const { plan, settings, log, control, phases, undo, google } = options;
  // None of this needs the network: it is done while the answers travel.
  const taken = systemClock.turn().then(() => {
    options.confine?.();
    return takeBase(outer, { plan, settings, log, undo });
  });
  const containers = import("./run_containers.ts");
  const referenceSource = await openReferences(outer, options);
  const intercepted = taken.then((base) => intercepting(outer, { ...options, ...base }));
  intercepted.catch(() => {}); // It may fail long before it is waited for.
  const mounted = await mountPod(plan.planned, plan.cluster, {
    base: taken.then(({ base }) => base),
    basePath: plan.base,
    log,
    signal: control.stop,
    deadlineMs: Date.now() + settings.startTimeoutMs,
    inPlace: plan.isSideProcess,
    node: nodeFacts(),
    googleTokens: google?.tokens(plan),
    referenceSource,
  }).finally(() => intercepted.catch(() => {})); // Nothing is undone while something is still made.
  phases.end("mount");
  // What it takes beyond the mounts, beside which it happens.
  if (await intercepted) phases.end("interception");
  const run: Run = { ...options, ...await taken, outer, mounted };
  if (settings.oneShot) {
    const { replaceByProgram } = await import("./replace.ts");
    return await replaceByProgram(run);
  }
  const { keepFilesFresh, runContainers } = await containers;
  return plan.isSideProcess ? await keepFilesFresh(run) : await runContainers(run);
}

/** Who resolves the references of the Pod; most have none. */
async function openReferences(outer: Surroundings, { google, ...options }: CarryOutOptions) {
  const { planned: { references } } = options.plan;
  if (google === undefined || references === undefined || references.bySecret.size === 0) return undefined;
  return (await import("./references.ts")).openReferences(outer, { ...options, google });
}

/** Traffic is intercepted before the proxy starts, and as long as anything of the Pod runs. Resolves to whether it is. */
async function intercepting(
  outer: Surroundings,
  { plan, base, survivors, log, control, undo }: CarryOutOptions & Pick<Run, "base" | "survivors">,
): Promise<boolean> {
  const { interception } = plan.mesh ?? plan.trafficDirector ?? {};
  if (!interception || !base || !survivors) return false;
  const { intercept } = await import("./interception.ts");
  const graceMs = graceOf(plan);
  await intercept(interception, { outer, base, survivors, graceMs, log, signal: control.stop, undo });
  return true;
}

/** The base folder, free of what a killed krun left; none where {@linkcode Plan.takesBase} says so. */
async function takeBase(
  outer: Surroundings,
  { plan, settings, log, undo }: Pick<CarryOutOptions, "plan" | "settings" | "log" | "undo">,
): Promise<Pick<Run, "base" | "survivors">> {
  if (!plan.takesBase) return { base: undefined, survivors: undefined };
  const base = openBase({ base: plan.base, log, pid: outer.pid });
  undo.defer(() => base.close({ keep: settings.keepFiles }));
  if (plan.clusterToKeep) base.keepFile(CLUSTER_CACHE, cacheText(plan.clusterToKeep));
  const survivors = new Survivors(base, log);
  await survivors.stop(graceOf(plan));
  if (base.read(INTERCEPTION_NOTE) !== undefined) {
    await (await import("./interception.ts")).takeBackInterception(base, { outer, log });
  }
  base.sweep();
  return { base, survivors };
}

/** From SIGTERM to SIGKILL, milliseconds. */
function graceOf({ planned: { pod } }: Plan): number {
  return (pod.spec?.terminationGracePeriodSeconds ?? 30) * 1000;
}
