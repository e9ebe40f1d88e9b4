/**
 * The processes that /proc shows. In: /proc, through the C library, since Deno opens it only to programs with all
 * permissions. Out: one entry a process.
 *
 * @module
 */
import { parseProcStat, type ProcessStat } from "../core/proc_stat.ts";
import { bytesOf, type Libc } from "./libc.ts";

/** One process, zombies included; `undefined` when there is none of that id. */
export function readProcess(libc: Libc, pid: number): ProcessStat | undefined {
  return parseProcStat(libc.procText(`/proc/${pid}/stat`) ?? "");
}

/** Whether krun has a child, alive or not yet reaped. A subreaper without one has no descendant (PR_SET_CHILD_SUBREAPER(2const)). */
export function hasChild(libc: Libc): boolean {
  const P_ALL = 0, WNOHANG = 1, WEXITED = 4, WNOWAIT = 0x1000000;
  return libc.attempt("waitid", P_ALL, 0, bytesOf(new Int32Array(32)), WEXITED | WNOHANG | WNOWAIT) === 0;
}

/** Whether a process handles a signal itself: the signal is neither ignored nor left to the kernel. */
export function handlesSignal(libc: Libc, pid: number, signal: number): boolean {
  return isInSet(libc, pid, { set: "SigCgt", signal });
}

/** Whether a process ignores a signal. */
export function ignoresSignal(libc: Libc, pid: number, signal: number): boolean {
  return isInSet(libc, pid, { set: "SigIgn", signal });
}

function isInSet(libc: Libc, pid: number, { set, signal }: { set: "SigCgt" | "SigIgn"; signal: number }): boolean {
  const status = libc.procText(`/proc/${pid}/status`) ?? "";
  const [, signals = "0"] = new RegExp(`^${set}:\\t(\\w+)$`, "m").exec(status) ?? [];
  return (BigInt(`0x${signals}`) >> BigInt(signal - 1) & 1n) === 1n;
}

/** All processes, zombies included. Takes about 20 microseconds a process. */
export function readProcesses(libc: Libc): ProcessStat[] {
  return libc.pids().map((pid) => readProcess(libc, pid)).filter((entry) => entry !== undefined);
}
