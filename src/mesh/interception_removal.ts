/**
 * Interception taken back, without the agent. In: what a krun noted before it intercepted traffic, and functions for programs
 * and /proc. Out: the rules as they would be without it.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import {
  hasMark,
  type InterceptionNote,
  madeBy,
  type MarkContent,
  markContent,
  parseInterceptionNote,
  residues,
} from "../core/interception_note.ts";
import { backendKind, iptablesProgram } from "../core/iptables_backend.ts";
import { removalSteps, restoreText } from "../core/iptables_rules.ts";
import type { Logger } from "../core/log.ts";
import { type Family, IptablesPrograms, type IptablesProgramsOptions } from "./iptables_programs.ts";
import type { ProcReader } from "./network_namespace.ts";

/** Options of {@linkcode removeInterception}. */
export interface InterceptionOptions extends IptablesProgramsOptions {
  readonly proc: ProcReader;
  readonly log: Logger;
}

/**
 * Which network namespace of which boot this process is in; `undefined` when /proc does not say. The machine's own namespace
 * has the same number at every boot.
 */
export function networkNamespace(proc: ProcReader): string | undefined {
  const link = proc.readLink("/proc/self/ns/net");
  const boot = proc.readText("/proc/sys/kernel/random/boot_id")?.trim();
  return link === undefined || boot === undefined ? link : `${link} ${boot}`;
}

/** Whether the loopback interface has the address ::6. A line begins with the address and ends with the interface. */
export function hasLoopback6(proc: ProcReader): boolean {
  return /^0{31}6 .* lo$/m.test(proc.readText("/proc/self/net/if_inet6") ?? "");
}

/** What {@linkcode removeInterception} did. */
export type Removal =
  /** The rules are gone. */
  | "removed"
  /** There were none, or the value was no note. */
  | "nothing"
  /** The note is from another network namespace, which is gone or not krun's business. */
  | "elsewhere";

/**
 * Takes back what {@linkcode applyInterception} noted, in this run or an earlier one, whole or in part, without the agent.
 * Removes nothing but Istio's chains, krun's own and what leads to them, and only where krun's mark of that note is. Tables
 * that were not there before go too, if they are empty; the older iptables has no way to remove one.
 *
 * @throws {KrunError} `InterceptionFailed` when the rules cannot be read or changed.
 */
export async function removeInterception(noted: unknown, options: InterceptionOptions): Promise<Removal> {
  const note = parseInterceptionNote(noted);
  const content = note && markContent(note.mark);
  if (note === undefined || content === undefined) return "nothing";
  if (networkNamespace(options.proc) !== note.namespace) return "elsewhere";
  await untilAgentEnds(options.proc);
  const programs = await programsOf(note, options);
  const outcomes = await Promise.all(
    content.before.map(({ family }) =>
      removeFamily(programs, { ...content, family, mark: note.mark, proc: options.proc })
    ),
  );
  // Only when all families were tried: one that fails does not keep the other.
  for (const outcome of outcomes) if (outcome instanceof KrunError) throw outcome;
  const removal = outcomes.includes(true) ? "removed" : "nothing";
  if (note.backend.kind === "nft") await removeTables(programs, content);
  if (removal === "removed") options.log.info("traffic is no longer intercepted", { backend: note.backend.kind });
  return removal;
}

/** istio-iptables waits 30 s for a lock. It outlives a krun that is killed, and would bring its rules after the clean-up. */
const AGENT_LIMIT_MS = 40_000;

async function untilAgentEnds(proc: ProcReader): Promise<void> {
  const namespace = proc.readLink("/proc/self/ns/net");
  const runs = () =>
    proc.list("/proc").some((name) =>
      proc.readText(`/proc/${name}/cmdline`)?.split("\0")[1] === "istio-iptables" &&
      proc.readLink(`/proc/${name}/ns/net`) === namespace
    );
  for (const deadline = performance.now() + AGENT_LIMIT_MS; runs() && performance.now() < deadline;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The programs of the noted kind, under another name if what is installed has changed, or what the plain name means. */
async function programsOf({ backend }: InterceptionNote, options: InterceptionOptions): Promise<IptablesPrograms> {
  for (const suffix of [backend.suffix, `-${backend.kind}`, ""] as const) {
    const programs = new IptablesPrograms(suffix, options);
    const { code, stdout } = await programs.change(4, "--version");
    if (code === 0 && backendKind(stdout) === backend.kind) return programs;
  }
  throw new KrunError(
    "InterceptionFailed",
    `Cannot take interception back: no iptables of kind ${backend.kind} is in PATH (${options.path})`,
    `install iptables-${backend.kind}, and start krun again`,
  );
}

interface RemoveOptions extends Pick<MarkContent, "loopback6"> {
  readonly family: Family;
  readonly mark: string;
  readonly proc: ProcReader;
}

/** Somebody may change a rule between the look and the change; then nothing is done and krun looks again. */
const TRIES = 5;

/** Whether there was something to remove; the error when it could not be. */
async function removeFamily(
  programs: IptablesPrograms,
  { family, mark, loopback6, proc }: RemoveOptions,
): Promise<boolean | KrunError> {
  let words = "";
  for (let tries = 0; tries < TRIES; tries++) {
    const saved = await programs.saved(family);
    if (saved !== undefined && !hasMark(saved, mark)) return false;
    if (saved === undefined) continue;
    if (family === 6 && !loopback6 && hasLoopback6(proc)) {
      await programs.run(["ip", "-6", "address", "delete", "::6/128", "dev", "lo"]);
    }
    const { code, stderr } = await programs.restore(family, restoreText(removalSteps(saved, madeBy(mark))));
    if (code === 0) return true;
    words = stderr;
  }
  const program = iptablesProgram(programs.suffix, family, words === "" ? "save" : "restore");
  return new KrunError(
    "InterceptionFailed",
    `Cannot take interception back: ${program} does not work`,
    `remove the chains ISTIO_* and ${mark} of this network namespace by hand`,
    words === "" ? {} : { details: words },
  );
}

async function removeTables(programs: IptablesPrograms, { before }: MarkContent): Promise<void> {
  await Promise.all(before.map(async (one) => {
    const saved = await programs.saved(one.family);
    if (saved === undefined) return;
    for (const { table, chains, isNew } of residues(one, saved)) {
      // One that is not there, or that somebody has just filled, is refused: that is the wish.
      for (const chain of chains) await programs.change(one.family, "-t", table, "-X", chain);
      if (isNew) await programs.dropTable(one.family, table);
    }
  }));
}
