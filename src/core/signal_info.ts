/**
 * Who sent a signal. In: the bytes of a siginfo_t. Out: the signal and its sender, and whether it is meant for the program.
 * Source: sigaction(2); the layout is that of 64-bit Linux.
 *
 * @module
 */
import { SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGWINCH } from "./signals.ts";

/** Size of a siginfo_t. */
export const SIGNAL_INFO_BYTES = 128;

/** One signal that arrived. */
export interface SignalInfo {
  readonly signal: number;
  /** `process`: kill(2) and its like; `kernel`: the terminal, a limit, a broken pipe; `other`: krun's own timers and files. */
  readonly from: "process" | "kernel" | "other";
  /** Sender's pid when it is a process; 0 when it lives outside krun's PID namespace. */
  readonly pid: number;
}

/** Reads a siginfo_t. */
export function parseSignalInfo(bytes: Uint8Array): SignalInfo {
  const SI_USER = 0, SI_QUEUE = -1, SI_TKILL = -6, SI_KERNEL = 0x80;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const code = view.getInt32(8, true);
  const from = [SI_USER, SI_QUEUE, SI_TKILL].includes(code) ? "process" : code === SI_KERNEL ? "kernel" : "other";
  return { signal: view.getInt32(0, true), from, pid: from === "process" ? view.getInt32(16, true) : 0 };
}

/** What a terminal sends to its foreground group. */
const OF_A_TERMINAL: ReadonlySet<number> = new Set([SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH]);

/**
 * True when somebody means krun and so the program: another process, or the terminal. False for what krun does to itself, as
 * SIGPIPE when a log reader is gone and SIGXFSZ when a file grows too large: the program has no part in it.
 *
 * The terminal sends to its foreground group only. While that is the program's own group krun gets nothing, so nothing that
 * arrives here has reached the program already.
 */
export function isForProgram(info: SignalInfo, ownPid: number): boolean {
  if (info.from === "process") return info.pid !== ownPid;
  return info.from === "kernel" && OF_A_TERMINAL.has(info.signal);
}
