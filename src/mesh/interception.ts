/**
 * Interception put in place. In: a plan, the agent, and functions for programs and /proc. Out: rules in the kernel, and the
 * note by which they can be removed (`interception_removal.ts`), which is handed out before the first of them exists.
 *
 * Steps of a start: krun's mark with its exemptions; istio-iptables; the exemptions moved into its chains. Each is a program
 * that changes a table at once or not at all, so a kill leaves whole steps, and the mark with the first.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { type InterceptionArgs, interceptionArgs, type InterceptionPlan } from "../core/interception.ts";
import { guardAfter, guardBefore } from "../core/interception_guard.ts";
import { familyBefore, type InterceptionNote, isMark, markOf } from "../core/interception_note.ts";
import { ipCapture } from "../core/ip_capture.ts";
import { interceptionError, iptablesProgram } from "../core/iptables_backend.ts";
import { isIstioChain, istioChains, removalSteps, type SavedRules } from "../core/iptables_rules.ts";
import {
  hasLoopback6,
  type InterceptionOptions,
  networkNamespace,
  removeInterception,
} from "./interception_removal.ts";
import { type Family, IptablesPrograms } from "./iptables_programs.ts";
import type { CommandResult } from "./run_command.ts";

/** Options of {@linkcode applyInterception}. */
export interface ApplyInterceptionOptions extends InterceptionOptions {
  /** Path of pilot-agent. */
  readonly agent: string;
  /** Keeps the note where the next run finds it. Nothing is changed before it has returned. */
  note(value: InterceptionNote): void | Promise<void>;
  /** What an earlier run noted; it is taken back first. */
  readonly previous?: unknown;
  /** Looked at between steps: a step that has begun is not broken off. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Intercepts the traffic that a plan names, in the network namespace of this process, and returns what it noted. When it
 * throws, everything is as it was.
 *
 * @throws {KrunError} `InterceptionConflict` when chains of Istio are there that this krun did not make, and what
 * `interceptionArgs` throws; `InterceptionUnavailable` when the namespace has no address; `InterceptionFailed` with the last
 * words of the program that failed.
 */
export async function applyInterception(
  plan: InterceptionPlan,
  options: ApplyInterceptionOptions,
): Promise<InterceptionNote> {
  const { previous, proc, log } = options;
  if (previous !== undefined) await removeInterception(previous, options);
  const args = interceptionArgs(plan);
  const { families, leavesOut } = ipCapture(plan.addresses, { dualStack: plan.dualStack ?? false });
  if (families.length === 0) {
    const hint = "give the network namespace an address, or choose a mode without interception";
    throw interceptionError("InterceptionUnavailable", { reason: leavesOut ?? "", hint });
  }
  const namespace = networkNamespace(proc);
  if (namespace === undefined) {
    const reason = "krun cannot see its network namespace in /proc";
    throw interceptionError("InterceptionUnavailable", { reason, hint: "mount /proc" });
  }
  const programs = new IptablesPrograms(plan.backend.suffix, options);
  // Each program costs milliseconds of the start: what does not depend on another runs beside it.
  const others = (["-nft", "-legacy"] as const).filter((suffix) => suffix !== programs.suffix);
  const [current, ...foreign] = await Promise.all([
    currentRules(programs),
    ...others.map((suffix) => seenRules(new IptablesPrograms(suffix, options))),
  ]);
  for (const seen of [current, ...foreign]) refuseIstio(seen);
  const note: InterceptionNote = {
    namespace,
    backend: plan.backend,
    mark: markOf(chance()),
    before: current.rules.map(([family, saved]) => familyBefore(family, saved)),
    loopback6: hasLoopback6(proc),
  };
  await options.note(note);
  try {
    await putRules(programs, { args, families, note, options });
  } catch (error) {
    await takeBack(note, options);
    throw error;
  }
  for (const reason of [...args.notes, ...(leavesOut === undefined ? [] : [leavesOut])]) {
    log.warn("not all is intercepted", { reason });
  }
  log.info("traffic is intercepted", { scope: plan.scope, backend: plan.backend.kind, ipv6: families.includes(6) });
  return note;
}

function chance(): string {
  return crypto.getRandomValues(new Uint32Array(1))[0]!.toString(16).padStart(8, "0");
}

type FamilyRules = readonly [family: Family, saved: SavedRules];

interface SeenRules {
  readonly programs: IptablesPrograms;
  readonly rules: readonly FamilyRules[];
}

/** The rules of IPv4, and of IPv6 where there are programs for it: istio-iptables tries those even when it leaves IPv6 out. */
async function currentRules(programs: IptablesPrograms): Promise<SeenRules> {
  const seen = await seenRules(programs);
  if (seen.rules[0]?.[0] === 4) return seen;
  const reason = `${iptablesProgram(programs.suffix, 4, "save")} does not work any more`;
  throw interceptionError("InterceptionFailed", { reason, hint: "start krun again" });
}

async function seenRules(programs: IptablesPrograms): Promise<SeenRules> {
  const [ipv4, ipv6] = await Promise.all([programs.saved(4), programs.saved(6)]);
  return { programs, rules: [...(ipv4 ? [[4, ipv4] as const] : []), ...(ipv6 ? [[6, ipv6] as const] : [])] };
}

/** Chains of Istio that are there, in either iptables: istio-iptables would fail over them, or take them for its own. */
function refuseIstio({ programs: { suffix }, rules }: SeenRules): void {
  for (const [family, saved] of rules) {
    const chains = istioChains(saved);
    if (chains.length === 0) continue;
    const program = iptablesProgram(suffix, family, "change");
    const steps = removalSteps(saved, { chain: (name) => isIstioChain(name) || isMark(name) });
    const others = saved.chains.some(({ chain }) => isMark(chain));
    throw interceptionError("InterceptionConflict", {
      reason: `${program} has chains of ${others ? "another krun" : "an Istio"} that this krun did not make: ` +
        [...new Set(chains.map(({ table, chain }) => `${table} ${chain}`))].join(", "),
      hint: others
        ? "stop that krun, or if it was killed start it again with its MESH_BASE_DIR; the lines below remove them by hand"
        : "remove them if nothing needs them, with the lines below",
      details: steps.map(({ table, args }) => `${program} -t ${table} ${args}`).join("\n"),
    });
  }
}

interface PutOptions {
  readonly args: InterceptionArgs;
  /** What istio-iptables is going to capture. */
  readonly families: readonly Family[];
  readonly note: InterceptionNote;
  readonly options: ApplyInterceptionOptions;
}

async function putRules(programs: IptablesPrograms, { args, families, note, options }: PutOptions): Promise<void> {
  const { agent, run, path, signal } = options;
  const { mark } = note;
  signal?.throwIfAborted();
  const ends = await Promise.all(note.before.map(async ({ family }) => {
    const guard = await programs.restore(family, guardBefore(args.guard, { mark }));
    if (guard.code === 0) return [family];
    if (!families.includes(family)) return [];
    return failed(iptablesProgram(programs.suffix, family, "restore"), guard);
  }));
  const guarded = unfailed(ends).flat();
  signal?.throwIfAborted();
  const applied = await run([agent, ...args.argv], { env: { PATH: path, ...args.env } });
  if (applied.code !== 0) throw failed("istio-iptables", applied);
  signal?.throwIfAborted();
  unfailed(
    await Promise.all(guarded.map(async (family) => {
      const saved = await programs.saved(family) ?? { tables: [], chains: [], rules: [] };
      const moved = await programs.restore(family, guardAfter(args.guard, { mark, family, saved }));
      return moved.code === 0 ? family : failed(iptablesProgram(programs.suffix, family, "restore"), moved);
    })),
  );
}

/** What there is, once all have ended: nothing is taken back while something is still changed. @throws the first error */
function unfailed<Value>(ends: readonly (Value | KrunError)[]): Value[] {
  return ends.map((end) => {
    if (end instanceof KrunError) throw end;
    return end;
  });
}

/** The agent logs much; what it gave up over is at level error. */
function failed(program: string, { code, stdout, stderr }: CommandResult): KrunError {
  const lines = `${stdout}\n${stderr}`.split("\n").filter((line) => line.trim() !== "");
  const errors = lines.filter((line) => line.includes("\terror\t"));
  return interceptionError("InterceptionFailed", {
    reason: `${program} ended with status ${code}`,
    hint: "read its own words below",
    details: (errors.length > 0 ? errors : lines).slice(-10).join("\n"),
  });
}

async function takeBack(note: InterceptionNote, options: InterceptionOptions): Promise<void> {
  try {
    await removeInterception(note, options);
  } catch (error) {
    options.log.error("interception cannot be taken back", { reason: (error as Error).message });
  }
}
