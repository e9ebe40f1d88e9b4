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
import { familyBefore, type InterceptionNote, markContent, markOf } from "../core/interception_note.ts";
import { ipCapture } from "../core/ip_capture.ts";
import { interceptionError, iptablesProgram } from "../core/iptables_backend.ts";
import { leftoversAmong } from "./interception_leftovers.ts";
import {
  hasLoopback6,
  type InterceptionOptions,
  networkNamespace,
  removeInterception,
} from "./interception_removal.ts";
import type { Family, IptablesPrograms } from "./iptables_programs.ts";
import type { CommandResult } from "./run_command.ts";
import { lookAtRules, refuseIstio, requireRules, type SeenRules } from "./seen_rules.ts";

/** Options of {@linkcode applyInterception}. */
export interface ApplyInterceptionOptions extends InterceptionOptions {
  /** Path of pilot-agent. */
  readonly agent: string;
  /** The mark of the processes of this run; its last 16 bits are 0. */
  readonly runMark: bigint;
  /** Ends the processes of a run that is gone, whose rules are then taken back. */
  endRun(runMark: bigint): Promise<void>;
  /** Called when nothing is left of runs that are gone, and before anything is changed: refuses where something else is wanting. */
  requireFree?(): void;
  /**
   * Shows in this network namespace, by {@linkcode claimName}, that the krun of a mark lives, from before its first rule until after
   * its last one. @throws {KrunError} where that cannot be shown
   */
  claim(mark: string): void;
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
 * @throws {KrunError} `InterceptionConflict` when chains of Istio are there that neither this krun nor one that is gone has
 * made, and what `interceptionArgs` and the options throw; `InterceptionUnavailable` when the namespace has no address; `InterceptionFailed` with the last
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
  const current = await withoutLeftovers(plan, options);
  const before = current.rules.map(([family, saved]) => familyBefore(family, saved));
  const mark = markOf({ run: options.runMark, before, loopback6: hasLoopback6(proc) });
  const note: InterceptionNote = { namespace, backend: plan.backend, mark };
  options.claim(mark);
  await options.note(note);
  try {
    await putRules(current.programs, { args, families, mark, options });
  } catch (error) {
    await takeBack(note, options);
    throw error;
  }
  for (const reason of [...args.notes, ...(leavesOut === undefined ? [] : [leavesOut])]) {
    log.warn("not all is intercepted", { reason });
  }
  const { scope, sharedWith, backend } = plan;
  log.info("traffic is intercepted", { scope, sharedWith, backend: backend.kind, ipv6: families.includes(6) });
  return note;
}

/** The rules of the plan's iptables, once those of a krun that is gone are. @throws {KrunError} as {@linkcode applyInterception} */
async function withoutLeftovers(plan: InterceptionPlan, options: ApplyInterceptionOptions): Promise<SeenRules> {
  const { proc, log, endRun, requireFree } = options;
  let { current, foreign } = await lookAtRules(plan.backend, options);
  const leftovers = leftoversAmong([current, ...foreign], proc);
  for (const { run, note } of leftovers) {
    log.warn("taking back what a killed krun of another base folder has left", { rules: note.mark });
    await endRun(run);
    await removeInterception(note, options);
  }
  if (leftovers.length > 0) ({ current, foreign } = await lookAtRules(plan.backend, options));
  requireFree?.();
  requireRules(current);
  for (const seen of [current, ...foreign]) refuseIstio(seen);
  return current;
}

interface PutOptions {
  readonly args: InterceptionArgs;
  /** What istio-iptables is going to capture. */
  readonly families: readonly Family[];
  readonly mark: string;
  readonly options: ApplyInterceptionOptions;
}

async function putRules(programs: IptablesPrograms, { args, families, mark, options }: PutOptions): Promise<void> {
  const { agent, run, path, signal } = options;
  signal?.throwIfAborted();
  const ends = await Promise.all(markContent(mark)!.before.map(async ({ family }) => {
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
