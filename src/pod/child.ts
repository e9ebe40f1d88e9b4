/**
 * A child that makes system calls of its own before it is a program. In: the calls. Out: its pid, or the errno of the call that failed.
 *
 * What is to hold for the program alone is changed in the child alone: krun's threads are never the program's user in a way that lets
 * that user signal them, and nothing that another thread of krun starts meanwhile inherits what was meant for the program. The child
 * shares krun's memory (CLONE_VM), since a copy of a runtime's page tables takes milliseconds; its code is `machine_code.ts`.
 *
 * krun does not wait as vfork(2) does, in the kernel: whoever may signal the program's user can stop the child before it is a program,
 * and would stop krun with it. A pipe tells the end of the start: its other end is closed by execve(2) once the child has a memory of
 * its own, or by the child's end.
 *
 * @module
 */
import { SIGCHLD, SIGKILL } from "../core/signals.ts";
import { type Argument, type Bytes, bytesOf, ECANCELED, type Libc, O_CLOEXEC, type SystemCall } from "./libc.ts";
import { PR_GET_DUMPABLE, PR_SET_DUMPABLE } from "./libc.ts";
import { childCode, FRAME_ANSWER, FRAME_LENGTH, FRAME_MAY_FAIL } from "./machine_code.ts";
import { MASK_BYTES, SIG_SETMASK, withAllBlocked } from "./signal_mask.ts";

/** One thing that a child does: a system call with at most five arguments. */
export interface ChildCall {
  readonly name: SystemCall;
  readonly args: readonly Argument[];
  /** The child goes on where it fails. @default {false} */
  readonly mayFail?: boolean;
}

/** A call without which there is to be no program. */
export function must(name: SystemCall, ...args: readonly Argument[]): ChildCall {
  return { name, args };
}

/** A call that a kernel may refuse. */
export function may(name: SystemCall, ...args: readonly Argument[]): ChildCall {
  return { name, args, mayFail: true };
}

/** How often krun looks whether a child that takes long was stopped, milliseconds. */
const LOOK_MS = 100;

let code: bigint | undefined;

/** What a child does, and what it is in the end. */
export interface Child {
  /** What it does first, with every signal blocked and krun's handlers, which it is to change. */
  readonly calls: readonly ChildCall[];
  /** The signals that are blocked in the program, as rt_sigprocmask(2) takes them. */
  readonly mask: Bytes;
  /** The file to execute. */
  readonly path: string;
  /** Addresses of its arguments and its environment, as execve(2) takes them. */
  readonly argv: bigint;
  readonly env: bigint;
  /** Where the kernel writes the child's id before it does anything: 32 bits. */
  readonly pid: Bytes;
}

/**
 * Starts a child. Returns its pid once it is a program, or has ended otherwise; or the negative errno of the call that failed, with
 * nothing left of the child; ECANCELED: it was stopped by a signal, and was killed.
 *
 * As long as it shares krun's memory nobody may trace it, and no core is written of it, for which kernels before 5.16 end everybody
 * who shares a memory; krun itself cannot be traced that long either.
 */
export function startChild(libc: Libc, child: Child): number {
  const pipe = new Int32Array(2);
  const errno = libc.attempt("pipe2", bytesOf(pipe), O_CLOEXEC);
  if (errno !== 0) return -errno;
  const [readFd = -1, writeFd = -1] = pipe;
  const table = new Table(libc, child);
  const dumpable = libc.call("prctl", PR_GET_DUMPABLE);
  libc.call("prctl", PR_SET_DUMPABLE, 0);
  try {
    const pid = withAllBlocked(libc, () => table.start());
    libc.call("close", writeFd);
    if (pid < 0) return pid;
    const wasStopped = awaitEnd(libc, { pid, readFd });
    const failure = wasStopped ? -ECANCELED : table.failure();
    if (failure !== undefined) libc.call("wait4", pid, 0, 0, 0);
    return failure ?? pid;
  } finally {
    libc.call("prctl", PR_SET_DUMPABLE, dumpable);
    libc.call("close", readFd);
  }
}

/** System calls as the machine code takes them, in memory that krun and the child share. */
class Table {
  readonly #libc: Libc;
  readonly #calls: readonly ChildCall[];
  readonly #frames: BigInt64Array<ArrayBuffer>;
  /** Keeps the memory of the arguments from being collected while the child uses it. */
  readonly #inUse: readonly (readonly Bytes[])[];

  constructor(libc: Libc, { calls, mask, path, argv, env, pid }: Child) {
    const CLONE_VM = 0x100, CLONE_PARENT_SETTID = 0x100000;
    this.#libc = libc;
    this.#calls = [
      must("clone", CLONE_VM | CLONE_PARENT_SETTID | SIGCHLD, 0, pid),
      ...calls,
      // A change of user may have made it dumpable (PR_SET_DUMPABLE(2const)).
      must("prctl", PR_SET_DUMPABLE, 0),
      must("rt_sigprocmask", SIG_SETMASK, mask, 0, MASK_BYTES),
      must("execve", path, argv, env),
    ];
    this.#frames = new BigInt64Array(FRAME_LENGTH * this.#calls.length);
    this.#inUse = this.#calls.map(({ name, args, mayFail }, index) => {
      const frame = this.#frame(index);
      const inUse = libc.layOut(frame, name, args);
      frame[FRAME_MAY_FAIL] = mayFail ? 1n : 0n;
      return inUse;
    });
  }

  #frame(index: number): BigInt64Array<ArrayBuffer> {
    return this.#frames.subarray(FRAME_LENGTH * index, FRAME_LENGTH * (index + 1));
  }

  /** Returns the child's pid, or -errno. */
  start(): number {
    code ??= this.#libc.executable(childCode(Deno.build.arch));
    this.#libc.run(code, this.#frames);
    return Number(this.#frame(0)[FRAME_ANSWER]);
  }

  /** The answer of the call that ended the child, once the child uses the table no longer. */
  failure(): number | undefined {
    const answers = this.#inUse.map((_, index) => Number(this.#frame(index)[FRAME_ANSWER]));
    return answers.find((answer, index) => answer < 0 && !this.#calls[index]?.mayFail);
  }
}

/** Returns when the child uses krun's memory no longer: whether it was killed for being stopped. */
function awaitEnd(libc: Libc, { pid, readFd }: { readonly pid: number; readonly readFd: number }): boolean {
  let wasStopped = false;
  // Nobody writes: the only event is that its other end is closed.
  while (!hangsUp(libc, readFd)) {
    if (!isStopped(libc, pid)) continue;
    wasStopped = true;
    libc.kill(pid, SIGKILL);
  }
  return wasStopped;
}

/** Waits for the other end of a pipe to be closed, but not for ever. */
function hangsUp(libc: Libc, fd: number): boolean {
  // Without events: a hang-up is told in any case (poll(2)). The kernel writes into both.
  const [entry, timeout] = [new Int32Array([fd, 0]), new BigInt64Array([0n, BigInt(LOOK_MS * 1e6)])];
  return libc.call("ppoll", bytesOf(entry), 1, bytesOf(timeout), 0, 0) > 0;
}

function isStopped(libc: Libc, pid: number): boolean {
  const P_PID = 1, WNOHANG = 1, WSTOPPED = 2, WNOWAIT = 0x1000000;
  const info = new Int32Array(32);
  return libc.call("waitid", P_PID, pid, bytesOf(info), WSTOPPED | WNOHANG | WNOWAIT) === 0 && info[0] !== 0;
}
