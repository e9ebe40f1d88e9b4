/**
 * The choice of an iptables for a network namespace. In: the programs in PATH, tried in the namespace. Out: the set that
 * works, or the error that says what is wanting.
 *
 * @module
 */
import {
  backendKind,
  type FailedAttempt,
  interceptionUnavailable,
  IPTABLES_SUFFIXES,
  type IptablesBackend,
  iptablesProgram,
  PROBE,
} from "../core/iptables_backend.ts";
import { parseSavedRules } from "../core/iptables_rules.ts";
import { type Family, IptablesPrograms, type IptablesProgramsOptions } from "./iptables_programs.ts";
import type { CommandResult } from "./run_command.ts";

/** Options of {@linkcode chooseBackend}. */
export interface ChooseBackendOptions extends IptablesProgramsOptions {
  /** Text of a file in /proc; `undefined` when it cannot be read. */
  readText(path: string): string | undefined;
  /** Whether IPv6 is to be captured, so that the programs for it must work too. */
  readonly ipv6: boolean;
}

/**
 * The first of nft and legacy that has all its programs and that the kernel takes a rule from. Leaves nothing behind but an
 * empty table `nat`: on nftables where `nft` is not installed, and where only the older one works, whose tables stay.
 *
 * @throws {KrunError} `InterceptionUnavailable` saying whether a program, a capability or the kernel's part is missing.
 */
export async function chooseBackend(options: ChooseBackendOptions): Promise<IptablesBackend> {
  const failed: FailedAttempt[] = [];
  for (const suffix of IPTABLES_SUFFIXES) {
    const attempt = await tryPrograms(new IptablesPrograms(suffix, options), options.ipv6 ? [4, 6] : [4]);
    if ("works" in attempt) return attempt.works;
    failed.push(attempt);
  }
  const status = options.readText("/proc/self/status") ?? "";
  throw interceptionUnavailable(failed, { path: options.path, status });
}

type Attempt = FailedAttempt | { readonly works: IptablesBackend };

async function tryPrograms(programs: IptablesPrograms, families: readonly Family[]): Promise<Attempt> {
  const { suffix } = programs;
  // Each program costs milliseconds of the start: what does not depend on another runs beside it.
  const [version, ...looks] = await Promise.all([
    programs.change(4, "--version"),
    ...families.map(async (family) => ({ family, saved: await programs.run([tool(programs, family, "save")]) })),
  ]);
  if (version.code === 127) return { suffix, missing: iptablesProgram(suffix, 4, "change") };
  const kind = backendKind(version.stdout);
  const faults = await Promise.all(looks.map((look) => probe(programs, { ...look, kind })));
  const fault = faults.find((one) => one !== undefined);
  return fault === undefined ? { works: { kind, suffix } } : { suffix, kind, ...fault };
}

function tool({ suffix }: IptablesPrograms, family: Family, name: "save" | "restore"): string {
  return iptablesProgram(suffix, family, name);
}

interface ProbeOptions {
  readonly family: Family;
  readonly kind: IptablesBackend["kind"];
  /** What iptables-save gave. */
  readonly saved: CommandResult;
}

async function probe(
  programs: IptablesPrograms,
  { family, kind, saved }: ProbeOptions,
): Promise<{ missing: string } | { words: string } | undefined> {
  if (saved.code === 127) return { missing: tool(programs, family, "save") };
  const probed = saved.code === 0 ? await programs.restore(family, PROBE) : saved;
  if (probed.code === 127) return { missing: tool(programs, family, "restore") };
  if (probed.code === 0) {
    if (kind === "nft" && !parseSavedRules(saved.stdout).tables.includes("nat")) {
      await programs.dropTable(family, "nat");
    }
    return undefined;
  }
  // The older restore does not say what the kernel said.
  const asked = kind === "legacy" ? await programs.change(family, "-t", "nat", "-S") : probed;
  return { words: asked.code === 0 ? probed.stderr : asked.stderr };
}
