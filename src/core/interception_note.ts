/**
 * What krun leaves behind before it intercepts traffic, so that this run or, after kill -9, another one can take everything
 * back: a mark among the rules themselves, and a note in its journal. In: rules, a JSON value as somebody may have left it.
 * Out: the mark and the note, or nothing.
 *
 * The mark is the name of a chain of krun's own. It says which run made the rules and what was there before them, so that a
 * krun of whatever base folder, which sees no journal but its own, can take them back. It does not say whether that run still
 * lives: as long as it does, it holds a socket by that name (`claimName`), which is seen in that network namespace alone and is gone
 * with the process, however it ends.
 *
 * @module
 */
import { IPTABLES_SUFFIXES, type IptablesBackend, PROBE_CHAIN } from "./iptables_backend.ts";
import { isIstioChain, isTableEmpty, type PrintedRule, type Removed, type SavedRules } from "./iptables_rules.ts";

/** A JSON value. */
export interface InterceptionNote {
  /** What /proc/self/ns/net points to, and the boot. */
  readonly namespace: string;
  readonly backend: IptablesBackend;
  /** krun's own chain in table `nat`: rules are only ever removed beside it. */
  readonly mark: string;
}

/** What a mark says. */
export interface MarkContent {
  /** The mark of the run's processes, whose last 16 bits are 0. */
  readonly run: bigint;
  /** Each family's tables as they were before. */
  readonly before: readonly FamilyBefore[];
  /** Whether the loopback interface had the address ::6 before, which istio-iptables adds. */
  readonly loopback6: boolean;
}

/** How a table was. */
export type TableBefore = (typeof TABLES_BEFORE)[number];

const TABLES_BEFORE = ["absent", "empty", "used"] as const;

/** What a family had of the tables that krun may bring into being, and that can be removed again. */
export interface FamilyBefore {
  readonly family: 4 | 6;
  readonly raw: TableBefore;
  readonly nat: TableBefore;
}

/** Bits of a run's mark that are always 0. */
const RUN_SHIFT = 16n;

/** Run, IPv4, IPv6, ::6. A name of 21 characters; the kernel allows 28. */
const MARK = /^KRUN_([0-9a-f]{12})_([0-8x])([0-8x])([01])$/;

/** The mark of a run: no other run has it. */
export function markOf({ run, before, loopback6 }: MarkContent): string {
  const number = (run >> RUN_SHIFT).toString(16).padStart(12, "0");
  return `KRUN_${number}_${digitOf(before, 4)}${digitOf(before, 6)}${Number(loopback6)}`;
}

function digitOf(before: readonly FamilyBefore[], family: 4 | 6): string {
  const one = before.find((entry) => entry.family === family);
  return one === undefined ? "x" : `${TABLES_BEFORE.indexOf(one.raw) * 3 + TABLES_BEFORE.indexOf(one.nat)}`;
}

/** What the name of a chain says as a mark; `undefined` for one that is no mark of a krun. */
export function markContent(chain: string): MarkContent | undefined {
  const [, number, ipv4, ipv6, loopback6] = MARK.exec(chain) ?? [];
  if (number === undefined) return undefined;
  return {
    run: BigInt(`0x${number}`) << RUN_SHIFT,
    before: ([[4, ipv4], [6, ipv6]] as const).flatMap(([family, digit]) => beforeOf(family, digit)),
    loopback6: loopback6 === "1",
  };
}

function beforeOf(family: 4 | 6, digit = "x"): FamilyBefore[] {
  if (digit === "x") return [];
  const [raw, nat] = [TABLES_BEFORE[Math.trunc(Number(digit) / 3)]!, TABLES_BEFORE[Number(digit) % 3]!];
  return [{ family, raw, nat }];
}

/** Whether a chain is the mark of some krun. */
export function isMark(chain: string): boolean {
  return MARK.test(chain);
}

/** The marks among rules, each once. */
export function marksIn({ chains }: SavedRules): string[] {
  return [...new Set(chains.map(({ chain }) => chain).filter(isMark))];
}

/** The abstract Unix socket (unix(7)), less its leading NUL, that the krun of a mark holds as long as it lives. */
export function claimName(mark: string): string {
  return `krun/${mark}`;
}

/** The marks whose krun lives, by the text of /proc/self/net/unix, where the NUL of such a name is an `@`. */
export function claimedMarks(netUnix: string): Set<string> {
  return new Set([...netUnix.matchAll(/ @krun\/(\S+)$/gm)].map(([, mark = ""]) => mark).filter(isMark));
}

/** What a mark says of a family, out of its rules. */
export function familyBefore(family: 4 | 6, saved: SavedRules): FamilyBefore {
  const was = (table: string): TableBefore =>
    !saved.tables.includes(table) ? "absent" : isTableEmpty(saved, table) ? "empty" : "used";
  return { family, raw: was("raw"), nat: was("nat") };
}

/** Reads a note; `undefined` for what is none. Never throws. */
export function parseInterceptionNote(value: unknown): InterceptionNote | undefined {
  const { namespace, backend, mark } = objectOf(value);
  const { kind, suffix } = objectOf(backend);
  const isNote = typeof namespace === "string" && typeof mark === "string" && isMark(mark) &&
    (kind === "nft" || kind === "legacy") && (IPTABLES_SUFFIXES as readonly unknown[]).includes(suffix);
  return isNote ? value as InterceptionNote : undefined;
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? value as Readonly<Record<string, unknown>> : {};
}

/** Whether rules with this mark are there, whole or in part. */
export function hasMark({ chains }: SavedRules, mark: string): boolean {
  return chains.some(({ chain }) => chain === mark);
}

/** What krun and its istio-iptables have made: Istio's chains, krun's, and the rule that istio-iptables tries the kernel with. */
export function madeBy(mark: string): Removed {
  const trial = ({ table, chain, spec }: PrintedRule) =>
    table === "nat" && chain === "INPUT" && spec === "-p 255 -j RETURN";
  return { chain: (name) => isIstioChain(name) || name === mark || name === PROBE_CHAIN, rule: trial };
}

/** A table that krun may have brought into being and that holds nothing now. */
export interface Residue {
  readonly table: string;
  /** Chains of the kernel that may be gone without anybody noticing. */
  readonly chains: readonly string[];
  /** Whether the table itself was not there. */
  readonly isNew: boolean;
}

/** What is left of tables that were absent or empty before. */
export function residues(before: FamilyBefore, saved: SavedRules): Residue[] {
  return (["raw", "nat"] as const).filter((table) =>
    saved.tables.includes(table) && isTableEmpty(saved, table) && before[table] !== "used"
  ).map((table) => ({
    table,
    chains: saved.chains.filter((one) => one.table === table).map(({ chain }) => chain),
    isNew: before[table] === "absent",
  }));
}
