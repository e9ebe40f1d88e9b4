/**
 * Interception in a start and a stop. In: the plan, the machine. Out: rules in the kernel as long as krun runs.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { interceptionArgs, type InterceptionPlan } from "../core/interception.ts";
import { ipCapture } from "../core/ip_capture.ts";
import { interceptionError } from "../core/iptables_backend.ts";
import { claimName } from "../core/interception_note.ts";
import type { Logger } from "../core/log.ts";
import type { MeshMachine } from "../core/mesh_mode.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import type { Settings } from "../core/settings.ts";
import { podContainers } from "../core/volume_mounts.ts";
import { applyInterception } from "../mesh/interception.ts";
import { deadRuns } from "../mesh/interception_leftovers.ts";
import { type InterceptionOptions, removeInterception } from "../mesh/interception_removal.ts";
import { chooseBackend } from "../mesh/iptables_backend.ts";
import { type NetworkScope, networkScope, type ProcReader } from "../mesh/network_namespace.ts";
import { isPortFree, portHolder } from "../mesh/ports.ts";
import { runCommand } from "../mesh/run_command.ts";
import type { BaseFolder } from "../pod/base_folder.ts";
import { claimNetworkName } from "../pod/claimed_name.ts";
import { loadLibc } from "../pod/libc.ts";
import { findSurvivors } from "../pod/survivor.ts";
import { machineRunAs } from "./machine_run_as.ts";
import { INTERCEPTION_NOTE, mayIntercept } from "./mesh_machine.ts";
import { anyMarked, endRun, type Survivors, survivorsIn } from "./survivors.ts";
import type { Surroundings } from "./surroundings.ts";

/** What is captured, and by whom. */
export interface PlannedInterception extends InterceptionPlan {
  /** Path of pilot-agent. */
  readonly agent: string;
}

/** What {@linkcode planInterception} works on. */
export interface InterceptionPlanOptions {
  readonly settings: Settings;
  /** Without the proxy. */
  readonly planned: PlannedPod;
  readonly machine: MeshMachine;
  /** @default {those of the Pod} */
  readonly annotations?: Readonly<Record<string, string>>;
  readonly dnsCapture: boolean;
  readonly dualStack: boolean;
  /** Where krun itself listens, besides its status pages. @default {nowhere} */
  readonly ownPorts?: readonly number[];
  /** @default {the agent's} */
  readonly statusPort?: number;
}

/** What is known of the network before it is known who runs in it. */
type NetworkFacts = Pick<InterceptionPlan, "scope" | "sharedWith" | "otherGids" | "addresses" | "backend">;

/** A look at the network, which other programs take some 60 ms for; `undefined` where nobody will intercept. */
export type NetworkLook = Promise<NetworkFacts | KrunError> | undefined;

/** What {@linkcode lookAtNetwork} is given. */
export interface LookOptions {
  readonly settings: Settings;
  readonly machine: MeshMachine;
  /** The base folder, which is not taken yet. */
  readonly base: string;
}

/** Looks at the network, where a start may come to intercept traffic. */
export function lookAtNetwork(outer: Surroundings, options: LookOptions): NetworkLook {
  const { settings, machine } = options;
  if (machine.interceptionFault || !mayIntercept(outer, settings, machine)) return undefined;
  const facts = networkFacts(outer, options);
  facts.catch(() => {}); // It is heard by planInterception(), unless something else fails first.
  return facts;
}

async function networkFacts(
  { env, pid }: Surroundings,
  { settings: { cloudRun }, base }: LookOptions,
): Promise<NetworkFacts | KrunError> {
  const proc = procReader();
  const addresses = Deno.networkInterfaces().map(({ address }) => address);
  const { families } = ipCapture(addresses, { dualStack: false });
  const { scope, ...others } = await scopeOf(proc, { pid, base, path: env.PATH });
  try {
    const options = { ...programs(env.PATH), readText: proc.readText, ipv6: families.includes(6) };
    const backend = await chooseBackend(options);
    return { scope: cloudRun ? "cloud-run" : scope, ...others, addresses, backend };
  } catch (cause) {
    return faultOf(cause);
  }
}

/** How often, and after how many milliseconds, it is looked again whose the network namespace is where a killed krun left something. */
const MOST_LOOKS = 4, LOOK_AGAIN_MS = 50;

/** Whose the network namespace is, once what killed kruns left in it is gone. */
async function scopeOf(
  proc: ProcReader,
  { pid, base, path }: { pid: number; base: string; path: string | undefined },
): Promise<NetworkScope> {
  const ofBase = survivorsIn(base);
  const scope = networkScope(proc, pid, { leftovers: ofBase });
  // Nearly always there is no such process, and no program has to be asked.
  if (scope.scope === "own" || !anyMarked()) return scope;
  const dead = await deadRuns(proc, programs(path));
  for (let looks = 1;; looks++) {
    const leftovers = [...ofBase, ...dead.flatMap((run) => findSurvivors({ programs: [], run }))];
    const found = networkScope(proc, pid, { leftovers });
    if (found.scope === "own" || dead.length === 0 || looks === MOST_LOOKS) return found;
    // A child that a leftover has just started is not known yet, and of what is ending the socket stays longer than the holder.
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

/**
 * What would be captured, or why nothing can be.
 *
 * @throws {KrunError} `SettingInvalid`, `PodInvalid`
 */
export async function planInterception(
  { self }: Surroundings,
  look: NetworkLook,
  options: InterceptionPlanOptions,
): Promise<PlannedInterception | KrunError> {
  const { settings, planned: { pod, program, tunnel }, machine, annotations, ownPorts = [], ...rest } = options;
  if (machine.interceptionFault) return machine.interceptionFault;
  const facts = await look;
  if (facts === undefined) return notRoot();
  if (facts instanceof KrunError) return facts;
  const container = pod.spec!.containers.find(({ name }) => name === program)!;
  const { uid, gid } = machineRunAs(container, { pod, self });
  const plan = {
    ...facts,
    ...rest,
    agent: machine.agent!,
    programUid: uid,
    programGid: gid,
    inboundPorts: podContainers(pod).flatMap(({ ports = [] }) => ports).map(({ containerPort }) => containerPort),
    ownPorts: [...settings.status ? [settings.status.port] : [], ...tunnel?.ports ?? [], ...ownPorts],
    outboundIpRanges: settings.mesh.outboundIpRanges,
    excludeOutboundPorts: settings.mesh.excludeOutboundPorts,
    annotations: annotations ?? pod.metadata?.annotations ?? {},
  };
  try {
    interceptionArgs(plan);
    return plan;
  } catch (cause) {
    return faultOf(cause);
  }
}

/** The error, if it says that there can be no interception. @throws the others */
function faultOf(cause: unknown): KrunError {
  if (cause instanceof KrunError && cause.code.startsWith("Interception")) return cause;
  throw cause;
}

function notRoot(): KrunError {
  const hint = "start krun as root with NET_ADMIN, as in docker run --cap-add=NET_ADMIN";
  return new KrunError("InterceptionUnavailable", "Cannot intercept traffic: krun is not root", hint);
}

/** What {@linkcode intercept} needs. */
export interface InterceptOptions {
  readonly outer: Surroundings;
  readonly base: BaseFolder;
  readonly survivors: Survivors;
  /** From SIGTERM to SIGKILL, for what a killed krun left running, milliseconds. */
  readonly graceMs: number;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Takes what must be undone at the end. */
  readonly undo: AsyncDisposableStack;
}

/**
 * Intercepts traffic until `undo` is disposed.
 *
 * @throws {KrunError} `InterceptionConflict`, `InterceptionUnavailable`, `InterceptionFailed`; the signal's reason
 */
export async function intercept(plan: PlannedInterception, options: InterceptOptions): Promise<void> {
  const { agent } = plan;
  const { outer, base, survivors, graceMs, log, signal, undo } = options;
  const means = { ...programs(outer.env.PATH), proc: procReader(), log };
  const note = await applyInterception(plan, {
    ...means,
    agent,
    signal,
    runMark: survivors.run,
    endRun: (run) => endRun(run, { graceMs, log }),
    requireFree: () => requirePorts(means.proc),
    claim: (mark) => void undo.use(claimNetworkName(claimName(mark))),
    note: (value) => base.record(INTERCEPTION_NOTE, value),
  });
  // The network namespace of a container ends with its PID 1, and the rules with it: that costs no time.
  if (plan.scope !== "shared" && outer.pid === 1) return;
  undo.defer(() => takeBack(note, { base, means }));
}

/** Takes back what a krun that was killed has left. @throws {KrunError} `InterceptionFailed` */
export async function takeBackInterception(base: BaseFolder, { outer, log }: { outer: Surroundings; log: Logger }) {
  const note = base.read(INTERCEPTION_NOTE);
  if (note === undefined) return;
  await removeInterception(note, { ...programs(outer.env.PATH), proc: procReader(), log });
  base.record(INTERCEPTION_NOTE, undefined);
}

/** At the end nothing can be done about what fails, but to say so; the next start tries again. */
async function takeBack(
  note: unknown,
  { base, means }: { base: BaseFolder; means: InterceptionOptions },
): Promise<void> {
  try {
    await removeInterception(note, means);
    base.record(INTERCEPTION_NOTE, undefined);
  } catch (cause) {
    if (!(cause instanceof KrunError)) throw cause;
    means.log.error(cause.message, { hint: cause.hint });
  }
}

function requirePorts(proc: ProcReader): void {
  // 15053 is bound on loopback alone, by whoever has it.
  const port = [15001, 15006, 15000, 15018, 15020, 15021, 15053, 15090].find((port) => !isPortFree(port));
  if (port === undefined) return;
  throw interceptionError("InterceptionConflict", {
    reason: `port ${port} of the proxy is in use by ${portHolder(proc, port)}`,
    hint: "stop it, or choose MESH_MODE=proxy, which takes other ports",
  });
}

/** The process that listens on a TCP port, in words. */
export function holderOfPort(port: number): string {
  return portHolder(procReader(), port);
}

const programs = (path = "") => ({ run: runCommand, path: path === "" ? DEFAULT_PATH : path });

/** iptables is in the folders of the system, which an ordinary PATH may lack. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** /proc as libc reads it, which Deno opens only to programs with all permissions. */
export function procReader(): ProcReader {
  const libc = loadLibc();
  return {
    list: (folder) => libc.procNames(folder),
    readLink: (path) => libc.procLink(path),
    readText: (path) => libc.procText(path),
  };
}
