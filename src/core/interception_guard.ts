/**
 * What krun puts around the rules of istio-iptables. In: whose traffic is captured, and the rules as they are. Out: input for
 * `iptables-restore --noflush`, one text before istio-iptables runs and one after it.
 *
 * istio-iptables takes a network namespace for its own. Left alone it
 * - redirects connections that are open already when the kernel first sees a packet of theirs, and they hang;
 * - in a shared namespace redirects what is only forwarded to one of the program's ports on another machine;
 * - splits DNS into connection tracking zones for everybody: answers no longer belong to questions, so that a firewall which
 *   lets only answers in drops them, and a resolver behind a rewritten address (docker's 127.0.0.11) is never heard again.
 *
 * So krun exempts these: before, by rules of its own that come ahead of Istio's; after, by rules at the top of Istio's own
 * chains, which nobody else's traffic or later rules meet, and takes the first ones back.
 *
 * @module
 */
import type { IpRange } from "./ip_range.ts";
import type { SavedRules } from "./iptables_rules.ts";

/** Whose traffic is captured, and what is not. */
export interface GuardPlan {
  /** The only group whose traffic is captured; `undefined` for everybody's but the proxy's. */
  readonly capturedGid: number | undefined;
  readonly proxyUid: number;
  readonly proxyGid: number;
  readonly dnsCapture: boolean;
  /** Interfaces whose traffic is left alone. */
  readonly excludedInterfaces: readonly string[];
  /** Interfaces whose inbound traffic is that of a virtual machine, and so is outbound to the mesh. */
  readonly reroutedInterfaces: readonly string[];
  /** Where to, for the interfaces that are rerouted. */
  readonly reroutedRanges: "*" | readonly IpRange[];
}

/** Options of both texts. */
export interface GuardOptions {
  /** Name of krun's own chain, which also shows that the rules are krun's. */
  readonly mark: string;
}

/** Options of {@linkcode guardAfter}. */
export interface GuardAfterOptions extends GuardOptions {
  readonly family: 4 | 6;
  /** The rules as istio-iptables left them. */
  readonly saved: SavedRules;
}

/** A rule's place and its match. */
interface Exemption {
  readonly chain: "PREROUTING" | "OUTPUT";
  readonly match: string;
}

/** What stays out of table `nat`. A connection begins with SYN; what the kernel meets first in its middle was there before. */
function natExemptions({ capturedGid }: GuardPlan): Exemption[] {
  const open = { match: "-p tcp ! --syn" };
  const forwarded = { chain: "PREROUTING", match: "-p tcp -m addrtype ! --dst-type LOCAL" } as const;
  return [
    { chain: "PREROUTING", ...open },
    { chain: "OUTPUT", ...open },
    ...(capturedGid === undefined ? [] : [forwarded]),
  ];
}

/** What stays in the zone of everybody else. Answers have no owner: they all stay. */
function rawExemptions({ capturedGid, dnsCapture }: GuardPlan): Exemption[] {
  if (!dnsCapture || capturedGid === undefined) return [];
  return [
    { chain: "OUTPUT", match: `-p udp --dport 53 -m owner ! --gid-owner ${capturedGid}` },
    { chain: "PREROUTING", match: "-p udp --sport 53" },
  ];
}

/** The text before istio-iptables: krun's mark, and the exemptions as long as Istio's chains do not exist. */
export function guardBefore(plan: GuardPlan, { mark }: GuardOptions): string {
  const table = (name: string, exemptions: readonly Exemption[]) =>
    text(name, [
      `:${mark} - [0:0]`,
      `-A ${mark} -j ACCEPT`,
      ...exemptions.map(({ chain, match }) => `-A ${chain} ${match} -j ${mark}`),
    ]);
  const raw = rawExemptions(plan);
  return (raw.length === 0 ? "" : table("raw", raw)) + table("nat", natExemptions(plan));
}

/** The text after istio-iptables: the exemptions within its chains. The mark stays, as an empty chain of table `nat`. */
export function guardAfter(plan: GuardPlan, { mark, family, saved }: GuardAfterOptions): string {
  const has = (table: string, chain: string) => saved.chains.some((one) => one.table === table && one.chain === chain);
  const takeBack = (exemptions: readonly Exemption[]) => [
    `-F ${mark}`,
    ...exemptions.map(({ chain, match }) => `-D ${chain} ${match} -j ${mark}`),
  ];
  const nat = has("nat", "ISTIO_OUTPUT")
    ? [...natRules(plan, family), ...(has("nat", "ISTIO_OUTPUT_DNS") ? dnsFirst(plan) : [])]
    : [];
  const raw = has("raw", "ISTIO_OUTPUT_DNS") ? rawRules(plan) : [];
  const flushed = has("raw", "ISTIO_INBOUND") ? ["-F ISTIO_INBOUND"] : [];
  const taken = rawExemptions(plan);
  return text("raw", [...raw, ...flushed, ...(taken.length === 0 ? [] : [...takeBack(taken), `-X ${mark}`])]) +
    text("nat", [...nat, ...takeBack(natExemptions(plan))]);
}

function natRules(plan: GuardPlan, family: 4 | 6): string[] {
  const chainOf = { PREROUTING: "ISTIO_INBOUND", OUTPUT: "ISTIO_OUTPUT" };
  return [
    ...natExemptions(plan).map(({ chain, match }) => `-I ${chainOf[chain]} 1 ${match} -j RETURN`),
    ...plan.excludedInterfaces.flatMap((name) => [
      `-I ISTIO_INBOUND 1 -i ${name} -j RETURN`,
      `-I ISTIO_OUTPUT 1 -o ${name} -j RETURN`,
    ]),
    ...plan.reroutedInterfaces.flatMap((name) => [
      `-I ISTIO_INBOUND 1 -i ${name} -j RETURN`,
      ...destinations(plan.reroutedRanges, family).map((to) =>
        `-I PREROUTING 1 -i ${name} ${to}-p tcp --syn -j ISTIO_REDIRECT`
      ),
    ]),
  ];
}

function destinations(ranges: "*" | readonly IpRange[], family: 4 | 6): string[] {
  if (ranges === "*") return [""];
  return ranges.filter((range) => range.family === family).map((range) => `-d ${range.text} `);
}

/**
 * Ahead of rules that rewrite where the resolver is, as docker's do: behind one of those no question would be seen. krun has
 * the proxy's group and not its user: for that istio-iptables forgets port 53, and takes a question to a resolver on
 * loopback for a call to the own address.
 */
function dnsFirst({ capturedGid, proxyGid }: GuardPlan): string[] {
  const owner = capturedGid === undefined ? "" : `-m owner --gid-owner ${capturedGid} `;
  return [
    ...["udp", "tcp"].map((protocol) => `-I OUTPUT 1 -p ${protocol} --dport 53 ${owner}-j ISTIO_OUTPUT`),
    `-I ISTIO_OUTPUT 1 -p tcp --dport 53 -m owner --gid-owner ${proxyGid} -j RETURN`,
  ];
}

/** Only what the program asks gets a zone of its own. The agent's questions stay where everybody's are, as all answers do. */
function rawRules({ capturedGid, proxyUid, proxyGid }: GuardPlan): string[] {
  const others = capturedGid === undefined
    ? [`--uid-owner ${proxyUid}`, `--gid-owner ${proxyGid}`]
    : [`! --gid-owner ${capturedGid}`];
  return others.map((owner) => `-I ISTIO_OUTPUT_DNS 1 -p udp --dport 53 -m owner ${owner} -j RETURN`);
}

function text(table: string, lines: readonly string[]): string {
  return lines.length === 0 ? "" : `*${table}\n${lines.map((line) => `${line}\n`).join("")}COMMIT\n`;
}
