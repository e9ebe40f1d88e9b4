/**
 * The signals of Linux by name and number, and which of them are passed on to the program. In: a name or a number. Out: the
 * other one. The numbers are those of x86_64 and aarch64, which agree (signal(7)).
 *
 * @module
 */

/** Numbers of the signals that krun's own rules name. */
export const SIGHUP = 1, SIGINT = 2, SIGQUIT = 3, SIGKILL = 9, SIGUSR1 = 10, SIGPIPE = 13, SIGTERM = 15;

/** Numbers of the signals of child processes and job control. */
export const SIGCHLD = 17, SIGCONT = 18, SIGSTOP = 19, SIGTSTP = 20, SIGTTIN = 21, SIGTTOU = 22, SIGWINCH = 28;

/** The highest signal number. */
export const SIGRTMAX = 64;

/** The first real-time signal that a program may use; glibc keeps 32 and 33 for itself (signal(7)). */
export const SIGRTMIN = 34;

/** Name without `SIG` → number, in numeric order. */
const NUMBERS: ReadonlyMap<string, number> = new Map(
  ("HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ " +
    "VTALRM PROF WINCH IO PWR SYS").split(" ").map((name, index) => [name, index + 1]),
);

/**
 * What stays with krun: KILL and STOP cannot be caught; CHLD tells of krun's own children; the others say that an instruction
 * of krun itself failed.
 */
const OWN: ReadonlySet<string> = new Set("KILL STOP CHLD ILL TRAP ABRT BUS FPE SEGV SYS".split(" "));

/** Numbers of all signals that krun passes on to the program, the real-time signals included, in numeric order. */
export const FORWARDED: readonly number[] = [
  ...[...NUMBERS].filter(([name]) => !OWN.has(name)).map(([, number]) => number),
  ...Array.from({ length: SIGRTMAX - SIGRTMIN + 1 }, (_, index) => SIGRTMIN + index),
];

/**
 * The number of a signal, `undefined` when there is none of that name.
 *
 * Takes what kill(1) takes: `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+2`, `RTMAX-1`.
 *
 * @example
 * ```ts
 * import { signalNumber } from "./signals.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(signalNumber("SIGHUP"), 1);
 * ```
 */
export function signalNumber(name: string): number | undefined {
  const short = name.toUpperCase().replace(/^SIG/, "");
  const realTime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(short);
  if (realTime) {
    const [, end, sign, distance = "0"] = realTime;
    const number = (end === "MIN" ? SIGRTMIN : SIGRTMAX) + (sign === "-" ? -1 : 1) * Number(distance);
    return number >= SIGRTMIN && number <= SIGRTMAX ? number : undefined;
  }
  if (/^\d{1,2}$/.test(name)) return Number(name) >= 1 && Number(name) <= SIGRTMAX ? Number(name) : undefined;
  return NUMBERS.get(short);
}

/** The name of a signal without `SIG`, as kill(1) and bash write it: `TERM`, `RTMIN+2`; the number itself when it has none. */
export function signalName(number: number): string {
  for (const [name, candidate] of NUMBERS) if (candidate === number) return name;
  if (number === SIGRTMIN) return "RTMIN";
  return number > SIGRTMIN && number <= SIGRTMAX ? `RTMIN+${number - SIGRTMIN}` : String(number);
}
