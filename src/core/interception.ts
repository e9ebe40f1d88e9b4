/**
 * What istio-iptables is told. In: the plan of a start. Out: the arguments and environment of `pilot-agent istio-iptables`,
 * and what krun puts around its rules (`interception_guard.ts`).
 *
 * In a network namespace of its own the program gets what Istio's injector gives a Pod. In a shared one only the traffic of
 * the program's group leaves through the proxy, and only its declared ports come in through it. Source: the injection
 * template and tools/istio-iptables of Istio 1.30.3.
 *
 * @module
 */
import type { KrunError } from "./errors.ts";
import type { GuardPlan } from "./interception_guard.ts";
import type { IpRange } from "./ip_range.ts";
import { interceptionError, type IptablesBackend } from "./iptables_backend.ts";
import { readInterfaces, readIpRanges, readPorts, type TrafficList } from "./traffic_list.ts";

/** Everything that decides which traffic the proxy gets. */
export interface InterceptionPlan {
  /** `own`: nobody but krun and its program is in the network namespace. */
  readonly scope: "own" | "shared" | "cloud-run";
  /** Who else is there, one clause; for `shared`. */
  readonly sharedWith?: string | undefined;
  /** Groups of the other processes that krun sees there; for `shared`. */
  readonly otherGids?: readonly number[];
  /** User that the program runs as. */
  readonly programUid: number;
  /** Effective group that the program runs as: the kernel matches the group that opened a socket. */
  readonly programGid: number;
  /** TCP ports that the program declares. */
  readonly inboundPorts: readonly number[];
  /** TCP ports that krun itself listens on, never captured. @default {[]} */
  readonly ownPorts?: readonly number[];
  /** OUTBOUND_IP_RANGES_INCLUDE. */
  readonly outboundIpRanges: string | undefined;
  /** OUTBOUND_PORTS_EXCLUDE. */
  readonly excludeOutboundPorts: string | undefined;
  /** Annotations of the Pod. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Names are resolved by the agent. */
  readonly dnsCapture: boolean;
  /** IPv6 is captured beside IPv4; the proxy must listen on both. @default {false} */
  readonly dualStack?: boolean;
  /** Addresses of the network namespace. */
  readonly addresses: readonly string[];
  readonly backend: IptablesBackend;
  /** User of agent and proxy. @default {1337} */
  readonly proxyUid?: number;
  /** Group of agent and proxy. @default {1337} */
  readonly proxyGid?: number;
  /** The agent's status port; 0 for none. @default {15020} */
  readonly statusPort?: number;
}

/** What comes of a plan. */
export interface InterceptionArgs {
  /** What follows the name of the agent. */
  readonly argv: readonly string[];
  /** All the environment that it needs beside PATH; it must get no other. */
  readonly env: Readonly<Record<string, string>>;
  readonly guard: GuardPlan;
  /** What was asked for and is not captured, a sentence each, without full stop. */
  readonly notes: readonly string[];
}

const PREFIX = "traffic.sidecar.istio.io/";
/** Envoy's ports and the agent's (https://istio.io/latest/docs/ops/deployment/application-requirements/). */
const PROXY_PORTS = [15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090];
/** Ways in for whoever has to mend things: the machine's SSH server and krun's. */
const NEVER_INBOUND = [22, 15022];
const CLOUD_RUN_RANGES = "10.0.0.0/8";
/** The seed's, for tunnels that are not to be tunnelled. */
const EXCLUDED_OUTBOUND_PORTS = "15008,15009";

/**
 * Arguments and environment of `pilot-agent istio-iptables`.
 *
 * Variables win over annotations, annotations over defaults. Interfaces are not among the arguments: istio-iptables would put
 * a rule into the kernel's own chains that nothing marks as its own, and nobody could take it back; the guard has them.
 *
 * @throws {KrunError} `SettingInvalid` or `PodInvalid` for a list that cannot be read, `InterceptionConflict` for a program
 * whose traffic cannot be told from the proxy's, or in a shared namespace from that of others.
 */
export function interceptionArgs(plan: InterceptionPlan): InterceptionArgs {
  const { scope, programGid, dnsCapture, backend, dualStack, proxyUid = 1337, proxyGid = 1337 } = plan;
  const conflict = identityConflict(plan);
  if (conflict !== undefined) throw conflict;
  const lists = readLists(plan);
  const inbound = inboundCapture(plan, lists);
  const argv = [
    ...["istio-iptables", "-p", "15001", "-z", "15006", "-u", `${proxyUid}`, "-g", `${proxyGid}`, "-m", "REDIRECT"],
    ...["-i", joined(lists.outboundRanges), "-x", joined(lists.excludedRanges), "-b", joined(inbound.ports)],
    ...(inbound.ports === "*" ? ["-d", joined(inbound.excluded)] : []),
    ...(lists.outboundPorts.length > 0 ? ["-q", joined(lists.outboundPorts)] : []),
    ...(lists.excludedOutboundPorts.length > 0 ? ["-o", joined(lists.excludedOutboundPorts)] : []),
    ...(dnsCapture ? ["--redirect-dns"] : []),
    ...(dualStack ? ["--dual-stack"] : []),
    // The plain names can only be meant where the others do not exist, and istio-iptables has no word for them.
    ...(backend.suffix === "" ? [] : ["--force-iptables-binary", backend.kind]),
  ];
  const rerouted = scope === "shared" ? [] : lists.rerouted;
  return {
    argv,
    env: scope === "shared" ? { ISTIO_OUTBOUND_OWNER_GROUPS: `${programGid}` } : {},
    guard: {
      ...{ proxyUid, proxyGid, dnsCapture, capturedGid: scope === "shared" ? programGid : undefined },
      ...{ excludedInterfaces: lists.excludedInterfaces, reroutedInterfaces: rerouted },
      reroutedRanges: lists.outboundRanges,
    },
    notes: [...inbound.notes, ...(rerouted.length === lists.rerouted.length ? [] : [NOT_REROUTED])],
  };
}

const REROUTED = "istio.io/reroute-virtual-interfaces";
const NOT_REROUTED = `${REROUTED} has no effect: the network namespace is shared with others`;

function identityConflict(plan: InterceptionPlan): KrunError | undefined {
  const { scope, programUid, programGid, otherGids = [], sharedWith, proxyUid = 1337, proxyGid = 1337 } = plan;
  const free = freeGid([...otherGids, proxyGid]);
  if (programUid === proxyUid || programGid === proxyGid) {
    return interceptionError("InterceptionConflict", {
      reason:
        `the program runs as ${programUid}:${programGid}, and what has the proxy's user or group is never captured`,
      hint: `set KRUN_RUN_AS=${programUid === proxyUid ? free : programUid}:${free}`,
    });
  }
  if (scope !== "shared" || (programGid !== 0 && !otherGids.includes(programGid))) return undefined;
  return interceptionError("InterceptionConflict", {
    reason: `group ${programGid} of the program is not its own, and the network namespace is shared` +
      (sharedWith === undefined ? "" : `: ${sharedWith}`),
    hint: `set KRUN_RUN_AS=${programUid}:${free}, a group that nothing else here has`,
  });
}

function freeGid(taken: readonly number[]): number {
  let gid = 10_000;
  while (taken.includes(gid)) gid++;
  return gid;
}

interface Lists {
  readonly outboundRanges: "*" | readonly IpRange[];
  readonly excludedRanges: readonly IpRange[];
  readonly inboundPorts: "*" | readonly number[];
  readonly excludedInboundPorts: readonly number[];
  readonly outboundPorts: readonly number[];
  readonly excludedOutboundPorts: readonly number[];
  readonly excludedInterfaces: readonly string[];
  readonly rerouted: readonly string[];
}

const LISTED = { star: false };
const ANY = { star: true };

function readLists({ scope, annotations, outboundIpRanges, excludeOutboundPorts }: InterceptionPlan): Lists {
  const annotated = (name: string, unset: string): TrafficList => ({
    from: "annotation",
    name,
    text: annotations[name] ?? unset,
  });
  const ours = (name: string, unset = "") => annotated(PREFIX + name, unset);
  const over = (name: string, text: string | undefined, below: TrafficList): TrafficList =>
    text ? { from: "variable", name, text } : below;
  const ranges = ours("includeOutboundIPRanges", scope === "cloud-run" ? CLOUD_RUN_RANGES : "*");
  const excluded = ours("excludeOutboundPorts", EXCLUDED_OUTBOUND_PORTS);
  return {
    outboundRanges: readIpRanges(over("OUTBOUND_IP_RANGES_INCLUDE", outboundIpRanges, ranges), ANY),
    excludedRanges: listed(readIpRanges(ours("excludeOutboundIPRanges"), LISTED)),
    inboundPorts: readPorts(ours("includeInboundPorts", "*"), ANY),
    excludedInboundPorts: listed(readPorts(ours("excludeInboundPorts"), LISTED)),
    outboundPorts: listed(readPorts(ours("includeOutboundPorts"), LISTED)),
    excludedOutboundPorts: listed(readPorts(over("OUTBOUND_PORTS_EXCLUDE", excludeOutboundPorts, excluded), LISTED)),
    excludedInterfaces: readInterfaces(ours("excludeInterfaces")),
    rerouted: readInterfaces(
      annotations[REROUTED] === undefined ? ours("kubevirtInterfaces") : annotated(REROUTED, ""),
    ),
  };
}

interface InboundCapture {
  readonly ports: "*" | readonly number[];
  /** Out of `*`. */
  readonly excluded: readonly number[];
  readonly notes: readonly string[];
}

function inboundCapture(plan: InterceptionPlan, { inboundPorts, excludedInboundPorts }: Lists): InboundCapture {
  const { scope, ownPorts = [], statusPort = 15020 } = plan;
  const status = statusPort === 0 ? [] : [statusPort];
  if (scope === "cloud-run") return { ports: [], excluded: [], notes: [] };
  if (scope === "own") {
    // The order is the injector's: its own, what the Pod excludes, the status port.
    const excluded = new Set([15090, 15021, ...excludedInboundPorts, ...status, ...ownPorts]);
    return { ports: inboundPorts, excluded: [...excluded], notes: [] };
  }
  const declared = [...new Set(plan.inboundPorts)];
  const wanted = declared.filter((port) =>
    (inboundPorts === "*" || inboundPorts.includes(port)) && !excludedInboundPorts.includes(port)
  );
  const never = [...NEVER_INBOUND, ...PROXY_PORTS, ...status, ...ownPorts];
  const kept = wanted.filter((port) => never.includes(port));
  return {
    ports: wanted.filter((port) => !never.includes(port)),
    excluded: [],
    notes: kept.map((port) =>
      `port ${port} is not captured: it is one of those that stay as they are in a shared network namespace`
    ),
  };
}

function listed<Entry>(list: "*" | readonly Entry[]): readonly Entry[] {
  return list === "*" ? [] : list;
}

function joined(list: "*" | readonly (number | IpRange)[]): string {
  return list === "*" ? list : list.map((entry) => typeof entry === "number" ? entry : entry.text).join(",");
}
