/**
 * The two programs that are called iptables: one on nftables, one on the kernel's older tables. In: what they print. Out:
 * which is which, a test of whether the kernel takes what Istio needs, and why interception is not to be had.
 *
 * @module
 */
import { type ErrorCode, KrunError } from "./errors.ts";

/** One working set of programs. */
export interface IptablesBackend {
  readonly kind: "nft" | "legacy";
  /** What follows `iptables` in the names of its programs; empty where only the plain names exist. */
  readonly suffix: IptablesSuffix;
}

/** Names under which distributions install the two. */
export type IptablesSuffix = "-nft" | "-legacy" | "";

/**
 * In the order in which krun tries them. The older one is last resort: once its `nat` table was looked at it exists until the
 * network namespace ends, and an istio-iptables that is not pinned then takes it for the one in use.
 */
export const IPTABLES_SUFFIXES: readonly IptablesSuffix[] = ["-nft", "-legacy", ""];

/** What a program of the set does. */
export type IptablesTool = "change" | "save" | "restore";

/** Name of one program of a set, such as `ip6tables-nft-save`. */
export function iptablesProgram(suffix: IptablesSuffix, family: 4 | 6, tool: IptablesTool): string {
  return `${family === 4 ? "ip" : "ip6"}tables${suffix}${tool === "change" ? "" : `-${tool}`}`;
}

/** Which of the two a program is, by what `--version` prints; versions before 1.8 say nothing and are the older one. */
export function backendKind(version: string): "nft" | "legacy" {
  return version.includes("nf_tables") ? "nft" : "legacy";
}

/** The chain of {@linkcode PROBE}. */
export const PROBE_CHAIN = "KRUN_PROBE";

/**
 * Input for `iptables-restore --noflush` that makes a rule which no packet meets, and takes it back: it fails where the kernel
 * lacks what Istio's rules need. In two steps, since a rule that is gone within one is never shown to the kernel.
 */
export const PROBE = `*nat
:${PROBE_CHAIN} - [0:0]
-A ${PROBE_CHAIN} -p tcp -m owner ! --gid-owner 1337 -j REDIRECT --to-ports 15001
COMMIT
*nat
-F ${PROBE_CHAIN}
-X ${PROBE_CHAIN}
COMMIT
`;

/** What came of trying one set of programs. */
export interface FailedAttempt {
  readonly suffix: IptablesSuffix;
  /** A program that does not exist; the first that was looked for is the one without `-save` and `-restore`. */
  readonly missing?: string;
  /** Which of the two it is; unset when that was not to be found out. */
  readonly kind?: "nft" | "legacy";
  /** What the program that failed printed. */
  readonly words?: string;
}

/** Options of {@linkcode interceptionUnavailable}. */
export interface UnavailableOptions {
  /** The PATH that was searched. */
  readonly path: string;
  /** Text of /proc/self/status; empty when it cannot be read. */
  readonly status: string;
}

/** Bits of linux/capability.h. */
const CAP_NET_ADMIN = 12n, CAP_NET_RAW = 13n;

function has(capability: bigint, status: string): boolean {
  const [, effective] = /^CapEff:\t([0-9a-f]+)$/m.exec(status) ?? [];
  return effective === undefined || (BigInt(`0x${effective}`) >> capability & 1n) === 1n;
}

/** The error for a machine on which no set works: programs, right or kernel, whichever is wanting. It is returned, not thrown. */
export function interceptionUnavailable(attempts: readonly FailedAttempt[], options: UnavailableOptions): KrunError {
  const tried = attempts.filter(({ suffix, missing }) => missing !== iptablesProgram(suffix, 4, "change"));
  const lines = tried.map(({ suffix, words, missing }) =>
    `iptables${suffix}: ${words === undefined ? `${missing} is missing` : firstLine(words)}`
  );
  return interceptionError("InterceptionUnavailable", { ...wanting(tried, options), details: lines.join("\n") });
}

/** A right that is missing is told before a kernel, and that before a program: so they stand in each other's way. */
function wanting(tried: readonly FailedAttempt[], { path, status }: UnavailableOptions): InterceptionErrorText {
  const refused = tried.find(({ words = "" }) => /permission denied|not permitted|must be root/i.test(words));
  if (refused !== undefined) return refusal(refused, status);
  const failed = tried.find(({ words }) => words !== undefined);
  if (failed !== undefined) {
    return {
      reason: `the kernel has no nat table for iptables${failed.suffix}`,
      hint: "run krun where the kernel has nftables or iptable_nat, with the modules for REDIRECT and owner",
    };
  }
  const missing = tried[0]?.missing;
  return missing === undefined
    ? { reason: `no iptables is in PATH (${path})`, hint: "install iptables" }
    : { reason: `${missing} is not in PATH (${path})`, hint: "install all of iptables" };
}

function refusal({ suffix, kind }: FailedAttempt, status: string): InterceptionErrorText {
  if (!has(CAP_NET_ADMIN, status)) {
    return {
      reason: "krun has not the capability NET_ADMIN",
      hint: "start krun as root with NET_ADMIN, as in docker run --cap-add=NET_ADMIN",
    };
  }
  if (kind === "legacy" && !has(CAP_NET_RAW, status)) {
    return {
      reason: `krun has not the capability NET_RAW, which iptables${suffix} needs`,
      hint: "give krun NET_RAW, or install iptables-nft",
    };
  }
  return {
    reason: "the kernel does not let krun change this network namespace",
    hint: "start krun as root of the user namespace that the network namespace belongs to",
  };
}

/** What an interception error says. */
export interface InterceptionErrorText {
  /** The state that was found. */
  readonly reason: string;
  /** One imperative. */
  readonly hint: string;
  /** More lines for a person; left out when empty. */
  readonly details?: string;
}

/** An error of interception. It is returned, not thrown. */
export function interceptionError(
  code: ErrorCode & `Interception${string}`,
  { reason, hint, details }: InterceptionErrorText,
): KrunError {
  return new KrunError(code, `Cannot intercept traffic: ${reason}`, hint, details ? { details } : {});
}

function firstLine(words: string): string {
  return words.trim().split("\n")[0] ?? "";
}
