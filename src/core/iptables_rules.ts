/**
 * The rules of a network namespace as `iptables-save` prints them, and how some of them are taken back. In: that text, and
 * which chains are meant. Out: input for `iptables-restore --noflush`, which touches nothing else.
 *
 * Source: iptables-save(8), iptables-restore(8), and print_rule4 of iptables/iptables.c for the quotation marks.
 *
 * @module
 */

/** A chain of a table. */
export interface ChainName {
  readonly table: string;
  readonly chain: string;
}

/** A rule as it is printed. */
export interface PrintedRule extends ChainName {
  /** What follows the chain: matches, target and the target's options. */
  readonly spec: string;
  /** Where it jumps or goes; `undefined` for a rule that only counts. */
  readonly target: string | undefined;
}

/** What is to be removed. */
export interface Removed {
  /** Whether a chain goes, with the rules in it and those that jump to it. */
  chain(name: string): boolean;
  /** Whether a rule of another chain goes as well. */
  rule?(rule: PrintedRule): boolean;
}

/** The whole of one `iptables-save`. */
export interface SavedRules {
  /** In the order in which they are printed. Only tables that exist are. */
  readonly tables: readonly string[];
  /** Chains with their policy: `-` for one that somebody made, ACCEPT or DROP for a chain of the kernel. */
  readonly chains: readonly (ChainName & { readonly policy: string })[];
  readonly rules: readonly PrintedRule[];
}

/** Reads an `iptables-save`, with or without counters. Never throws: what it does not know is left out. */
export function parseSavedRules(text: string): SavedRules {
  const tables: string[] = [];
  const chains: SavedRules["chains"][number][] = [];
  const rules: PrintedRule[] = [];
  for (const line of text.split("\n")) {
    const table = tables.at(-1) ?? "";
    const [, chain, policy] = /^:(\S+) (\S+)/.exec(line) ?? [];
    const [, from, spec] = /^(?:\[\d+:\d+\] )?-A (\S+)(?: (.*))?$/.exec(line) ?? [];
    if (line.startsWith("*")) tables.push(line.slice(1).trim());
    else if (chain !== undefined && policy !== undefined) chains.push({ table, chain, policy });
    else if (from !== undefined) rules.push({ table, chain: from, spec: spec ?? "", target: targetOf(spec ?? "") });
  }
  return { tables, chains, rules };
}

/** A word, or a text between quotation marks, in which a backslash takes the next character as it is. */
const WORD = /"((?:[^"\\]|\\.)*)"|\S+/g;

/** A comment may hold anything, `-j` among it: only words outside quotation marks count. */
function targetOf(spec: string): string | undefined {
  const words = [...spec.matchAll(WORD)].map(([word]) => word);
  const at = words.findIndex((word) => ["-j", "-g", "--jump", "--goto"].includes(word));
  return at < 0 ? undefined : words[at + 1];
}

/** One step of a removal, as the arguments of `iptables -t <table>`. */
export interface RemovalStep {
  readonly table: string;
  readonly args: string;
}

/**
 * The steps that remove the chains, the rules in them and the rules that jump to them, and nothing else: first the jumps, so
 * that no packet meets a half-empty chain, then the chains' rules, then the chains. The table `nat` comes last.
 */
export function removalSteps({ tables, chains, rules }: SavedRules, removed: Removed): RemovalStep[] {
  const last = (table: string) => Number(table === "nat");
  return tables.toSorted((a, b) => last(a) - last(b)).flatMap((table) => {
    const names = chains.filter((one) => one.table === table && one.policy === "-" && removed.chain(one.chain));
    const goes = (chain: string | undefined) => names.some((one) => one.chain === chain);
    const others = rules.filter((rule) => rule.table === table && !goes(rule.chain));
    return [
      ...others.filter((rule) => goes(rule.target) || removed.rule?.(rule)).map(({ chain, spec }) =>
        `-D ${chain} ${spec}`
      ),
      ...names.map(({ chain }) => `-F ${chain}`),
      ...names.map(({ chain }) => `-X ${chain}`),
    ].map((args) => ({ table, args }));
  });
}

/** The steps as input for `iptables-restore --noflush`, which does those of one table at once or not at all; empty for none. */
export function restoreText(steps: readonly RemovalStep[]): string {
  const tables = [...new Set(steps.map(({ table }) => table))];
  return tables.map((table) => {
    const lines = steps.filter((step) => step.table === table).map(({ args }) => `${args}\n`);
    return `*${table}\n${lines.join("")}COMMIT\n`;
  }).join("");
}

/** Whether a table holds nothing: no rule, no chain that somebody made, no policy but ACCEPT. */
export function isTableEmpty({ chains, rules }: SavedRules, table: string): boolean {
  return !rules.some((rule) => rule.table === table) &&
    chains.every((chain) => chain.table !== table || chain.policy === "ACCEPT");
}

/** The chains that istio-iptables makes, whoever started it. */
export function istioChains({ chains }: SavedRules): ChainName[] {
  return chains.filter(({ chain }) => isIstioChain(chain)).map(({ table, chain }) => ({ table, chain }));
}

/** Whether a name is one of Istio's. */
export function isIstioChain(chain: string): boolean {
  return chain.startsWith("ISTIO_");
}
