/**
 * What krun notes in its journal before it intercepts traffic, so that this run or, after kill -9, the next one can take
 * everything back. In: a JSON value as somebody may have left it. Out: the note, or nothing.
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
  /** The rules of each family as they were before. */
  readonly before: readonly FamilyBefore[];
  /** Whether the loopback interface had the address ::6 before, which istio-iptables adds. */
  readonly loopback6: boolean;
}

/** What a family had. */
export interface FamilyBefore {
  readonly family: 4 | 6;
  /** Tables that existed, the empty ones among them. */
  readonly tables: readonly string[];
  /** Tables that existed and were empty. */
  readonly empty: readonly string[];
}

/** A mark that no other krun has; `chance` is 8 digits of base 16. */
export function markOf(chance: string): string {
  return `KRUN_${chance}`;
}

/** Whether a chain is the mark of some krun. */
export function isMark(chain: string): boolean {
  return /^KRUN_[0-9a-f]{8}$/.test(chain);
}

/** The note of a family, out of its rules. */
export function familyBefore(family: 4 | 6, saved: SavedRules): FamilyBefore {
  return { family, tables: saved.tables, empty: saved.tables.filter((table) => isTableEmpty(saved, table)) };
}

/** Reads a note; `undefined` for what is none. Never throws. */
export function parseInterceptionNote(value: unknown): InterceptionNote | undefined {
  const { namespace, backend, mark, before, loopback6 } = objectOf(value);
  const { kind, suffix } = objectOf(backend);
  const isNote = typeof namespace === "string" && typeof mark === "string" && isMark(mark) &&
    typeof loopback6 === "boolean" && (kind === "nft" || kind === "legacy") &&
    (IPTABLES_SUFFIXES as readonly unknown[]).includes(suffix) && Array.isArray(before) && before.every(isFamilyBefore);
  return isNote ? value as InterceptionNote : undefined;
}

function isFamilyBefore(value: unknown): boolean {
  const { family, tables, empty } = objectOf(value);
  const isNames = (list: unknown) => Array.isArray(list) && list.every((name) => typeof name === "string");
  return (family === 4 || family === 6) && isNames(tables) && isNames(empty);
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
export function residues({ tables, empty }: FamilyBefore, saved: SavedRules): Residue[] {
  return ["raw", "nat"].filter((table) =>
    saved.tables.includes(table) && isTableEmpty(saved, table) && (!tables.includes(table) || empty.includes(table))
  ).map((table) => ({
    table,
    chains: saved.chains.filter((one) => one.table === table).map(({ chain }) => chain),
    isNew: !tables.includes(table),
  }));
}
