/**
 * What a krun that was killed has left in a network namespace, whatever its base folder was. In: the rules, /proc. Out: which of
 * them no living krun answers for.
 *
 * @module
 */
import { claimedMarks, type InterceptionNote, markContent, marksIn } from "../core/interception_note.ts";
import { networkNamespace } from "./interception_removal.ts";
import type { IptablesProgramsOptions } from "./iptables_programs.ts";
import type { ProcReader } from "./network_namespace.ts";
import { lookAtRules, type SeenRules } from "./seen_rules.ts";

/** The rules of one krun that is gone. */
export interface Leftover {
  /** The mark of the processes that it had started. */
  readonly run: bigint;
  /** As its journal has it. */
  readonly note: InterceptionNote;
}

/**
 * The leftovers among rules. None while a living krun has rules there too, since chains of Istio do not say whose they are; none
 * either where it cannot be seen who lives.
 */
export function leftoversAmong(seen: readonly SeenRules[], proc: ProcReader): Leftover[] {
  const [namespace, netUnix] = [networkNamespace(proc), proc.readText("/proc/self/net/unix")];
  if (namespace === undefined || netUnix === undefined) return [];
  const claimed = claimedMarks(netUnix);
  const found = seen.flatMap(({ backend, rules }) =>
    rules.flatMap(([, saved]) => marksIn(saved).map((mark) => ({ mark, backend })))
  );
  if (found.some(({ mark }) => claimed.has(mark))) return [];
  const distinct = new Map(found.map((one) => [`${one.mark} ${one.backend.suffix}`, one]));
  return [...distinct.values()].flatMap(({ mark, backend }) => {
    const { run } = markContent(mark) ?? {};
    return run === undefined ? [] : [{ run, note: { namespace, backend, mark } }];
  });
}

/** The marks of runs that are gone and have left rules: a look at all of them. */
export async function deadRuns(proc: ProcReader, options: IptablesProgramsOptions): Promise<bigint[]> {
  // The plain names, where there are no others, besides the others.
  const { current, foreign } = await lookAtRules({ kind: "nft", suffix: "" }, options);
  return [...new Set(leftoversAmong([current, ...foreign], proc).map(({ run }) => run))];
}
