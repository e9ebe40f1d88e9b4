/**
 * Processes as lines of `ps`. In: what /proc says of each. Out: a table. Source: proc_pid_stat(5), proc_pid_status(5).
 *
 * @module
 */
import type { AccountNames } from "./account_names.ts";
import { isKernelThread, parseProcStat } from "./proc_stat.ts";

/** What /proc says of one process. */
export interface ProcessTexts {
  /** Of /proc/<pid>/stat. */
  readonly stat: string;
  /** Of /proc/<pid>/status. */
  readonly status: string;
  /** Of /proc/<pid>/cmdline: arguments that each end in NUL; empty for what has none. */
  readonly cmdline: string;
}

/** The head of the table. */
export const processTitles: string = lineOf(["USER", "PID", "PPID", "STAT", "RSS", "COMMAND"]);

/** The row of a process; `undefined` for a thread of the kernel, and for what has gone. */
export function processLine({ stat, status, cmdline }: ProcessTexts, accounts: AccountNames): string | undefined {
  const parsed = isKernelThread(stat) ? undefined : parseProcStat(stat);
  if (parsed === undefined) return undefined;
  const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1];
  const uid = Number(field("Uid") ?? NaN);
  const name = /\(([^]*)\)/.exec(stat)?.[1] ?? "";
  const command = cmdline === "" ? `[${name}]` : cmdline.replace(/\0+$/, "").replaceAll("\0", " ");
  const user = accounts.userName(uid) ?? field("Uid") ?? "?";
  return lineOf([user, String(parsed.pid), String(parsed.parent), parsed.state, `${field("VmRSS") ?? 0}K`, command]);
}

function lineOf([user = "", pid = "", parent = "", state = "", memory = "", command = ""]: readonly string[]): string {
  return [user.padEnd(8), pid.padStart(7), parent.padStart(7), state.padEnd(4), memory.padStart(9), command].join(" ");
}
