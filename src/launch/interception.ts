/**
 * Interception in a start and a stop. In: the plan, the machine. Out: rules in the kernel as long as krun runs.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { interceptionArgs, type InterceptionPlan } from "../core/interception.ts";
import { ipCapture } from "../core/ip_capture.ts";
import { interceptionError } from "../core/iptables_backend.ts";
import type { Logger } from "../core/log.ts";
import type { Settings } from "../core/settings.ts";
import { applyInterception } from "../mesh/interception.ts";
import { type InterceptionOptions, removeInterception } from "../mesh/interception_removal.ts";
import { chooseBackend } from "../mesh/iptables_backend.ts";
import { networkScope, type ProcReader } from "../mesh/network_namespace.ts";
import { isPortFree, portHolder } from "../mesh/port_holder.ts";
import { runCommand } from "../mesh/run_command.ts";
import type { BaseFolder } from "../pod/base_folder.ts";
import { loadLibc } from "../pod/libc.ts";
import { INTERCEPTION_NOTE } from "./mesh_machine.ts";
import type { Surroundings } from "./surroundings.ts";

/** What is known of the network before it is known who runs in it. */
export type NetworkFacts = Pick<InterceptionPlan, "scope" | "sharedWith" | "otherGids" | "addresses" | "backend">;

/** What interception would meet here; the error that says why it is not to be had. Takes some 60 ms, of other programs. */
export async function networkFacts(
  { env, pid }: Pick<Surroundings, "env" | "pid">,
  { cloudRun }: Settings,
): Promise<NetworkFacts | KrunError> {
  const proc = procReader();
  const addresses = Deno.networkInterfaces().map(({ address }) => address);
  const { families } = ipCapture(addresses, { dualStack: false });
  const { scope, ...others } = networkScope(proc, pid);
  try {
    const options = { ...programs(env.PATH), readText: proc.readText, ipv6: families.includes(6) };
    const backend = await chooseBackend(options);
    return { scope: cloudRun ? "cloud-run" : scope, ...others, addresses, backend };
  } catch (cause) {
    if (!(cause instanceof KrunError) || cause.code === "Internal") throw cause;
    return cause;
  }
}

/** A plan of which istio-iptables will not say that it contradicts itself; the error if it does. @throws {KrunError} `SettingInvalid`, `PodInvalid` */
export function checkedInterception(plan: InterceptionPlan): InterceptionPlan | KrunError {
  try {
    interceptionArgs(plan);
    return plan;
  } catch (cause) {
    if (cause instanceof KrunError && cause.code === "InterceptionConflict") return cause;
    throw cause;
  }
}

/** What {@linkcode intercept} needs. */
export interface InterceptOptions {
  readonly outer: Surroundings;
  /** Path of pilot-agent. */
  readonly agent: string;
  readonly base: BaseFolder;
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
export async function intercept(plan: InterceptionPlan, options: InterceptOptions): Promise<void> {
  const { outer, agent, base, log, signal, undo } = options;
  const means = { ...programs(outer.env.PATH), proc: procReader(), log };
  requirePorts(means.proc);
  const note = await applyInterception(plan, {
    ...means,
    agent,
    signal,
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
  const port = [15001, 15006, 15000, 15020, 15021, 15053, 15090].find((port) => !isPortFree(port));
  if (port === undefined) return;
  throw interceptionError("InterceptionConflict", {
    reason: `port ${port} of the proxy is in use by ${portHolder(proc, port)}`,
    hint: "stop it, or choose MESH_MODE=proxy, which takes other ports",
  });
}

const programs = (path = "") => ({ run: runCommand, path: path === "" ? DEFAULT_PATH : path });

/** iptables is in the folders of the system, which an ordinary PATH may lack. */
const DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function procReader(): ProcReader {
  const libc = loadLibc();
  return {
    list: (folder) => libc.procNames(folder),
    readLink: (path) => libc.procLink(path),
    readText: (path) => libc.procText(path),
  };
}
