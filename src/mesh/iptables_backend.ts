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
  const version = await programs.change(4, "--version");
  if (version.code === 127) return { suffix, missing: iptablesProgram(suffix, 4, "change") };
  const kind = backendKind(version.stdout);
  for (const family of families) {
    const fault = await probe(programs, { family, kind });
    if (fault !== undefined) return { suffix, kind, ...fault };
  }
  return { works: { kind, suffix } };
}

interface ProbeOptions {
  readonly family: Family;
  readonly kind: IptablesBackend["kind"];
}

async function probe(
  programs: IptablesPrograms,
  { family, kind }: ProbeOptions,
): Promise<{ missing: string } | { words: string } | undefined> {
  const [save, restore] = (["save", "restore"] as const).map((tool) => iptablesProgram(programs.suffix, family, tool));
  const saved = await programs.run([save!]);
  if (saved.code === 127) return { missing: save! };
  const probed = saved.code === 0 ? await programs.restore(family, PROBE) : saved;
  if (probed.code === 127) return { missing: restore! };
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
