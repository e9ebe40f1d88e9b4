/**
 * A child that makes system calls of its own before it is a program. In: the calls. Out: its pid, or the errno of the call that failed.
 *
 * What is to hold for the program alone is changed in the child alone: krun's threads are never the program's user in a way that lets
 * that user signal them, and nothing that another thread of krun starts meanwhile inherits what was meant for the program. The child
 * shares krun's memory (CLONE_VM), since a copy of a runtime's page tables takes milliseconds; its code is `machine_code.ts`.
 *
 * krun does not wait as vfork(2) does, in the kernel: whoever may signal the program's user can stop the child before it is a program,
 * and would stop krun with it. A pipe tells the end of the start: a call that failed, or that its other end was closed, by execve(2)
 * once the child has a memory of its own, or by the child's end.
 *
 * @module
 */
import { SIGCHLD, SIGKILL } from "../core/signals.ts";
import {
  type Argument,
  type Bytes,
  bytesOf,
  ECANCELED,
  EINVAL,
  type Libc,
  O_CLOEXEC,
  PR_GET_DUMPABLE,
  PR_SET_DUMPABLE,
} from "./libc.ts";
import { childCode, FRAME_ANSWER, FRAME_LENGTH, FRAME_MAY_FAIL, FRAME_PIPE } from "./machine_code.ts";
import { MASK_BYTES, SIG_SETMASK, withAllBlocked } from "./signal_mask.ts";
import type { SystemCall } from "./system_calls.ts";

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

/** Memory that a child uses: what is here is not collected. */
const inUse = new Set<unknown>();

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
  // Before anything is open: memory for code may be forbidden.
  code ??= libc.executable(childCode(Deno.build.arch));
  const pipe = new Int32Array(2);
  const errno = libc.attempt("pipe2", bytesOf(pipe), O_CLOEXEC);
  if (errno !== 0) return -errno;
  const [readFd = -1, writeFd = -1] = pipe;
  const dumpable = libc.call("prctl", PR_GET_DUMPABLE);
  libc.call("prctl", PR_SET_DUMPABLE, 0);
  try {
    const pid = clone(libc, child, writeFd);
    libc.call("close", writeFd);
    if (pid < 0) return pid;
    const failure = awaitProgram(libc, pid, readFd);
    if (failure === 0) return pid;
    // It could be stopped even now, at its end.
    libc.kill(pid, SIGKILL);
    libc.call("wait4", pid, 0, 0, 0);
    return failure;
  } finally {
    inUse.clear();
    libc.call("prctl", PR_SET_DUMPABLE, dumpable);
    libc.call("close", readFd);
  }
}

/** Returns the pid of the child, which has begun, or -errno. */
function clone(libc: Libc, child: Child, writeFd: number): number {
  const CLONE_VM = 0x100, CLONE_CHILD_SETTID = 0x1000000;
  const { calls, mask, path, argv, env, pid: pidBytes } = child;
  const all = [
    ...calls,
    // A change of user may have made it dumpable (PR_SET_DUMPABLE(2const)).
    must("prctl", PR_SET_DUMPABLE, 0),
    must("rt_sigprocmask", SIG_SETMASK, mask, 0, MASK_BYTES),
    must("execve", path, argv, env),
  ];
  const frames = new BigInt64Array(FRAME_LENGTH * (1 + all.length));
  const frame = (index: number) => frames.subarray(FRAME_LENGTH * index, FRAME_LENGTH * (index + 1));
  const memory = all.map(({ name, args, mayFail }, index) => {
    const ofArguments = libc.layOut(frame(1 + index), name, args);
    frame(1 + index)[FRAME_MAY_FAIL] = mayFail ? 1n : 0n;
    return ofArguments;
  });
  inUse.add([child, frames, memory]);
  let pid = -EINVAL;
  // Software that runs programs of another machine (QEMU's) has no child that shares a memory.
  for (const sharing of [CLONE_VM, 0]) {
    if (pid !== -EINVAL) break;
    // The child's id is the fourth argument here, and the fifth there.
    libc.layOut(frame(0), "clone", [sharing | CLONE_CHILD_SETTID | SIGCHLD, 0, 0, pidBytes, pidBytes]);
    frame(0)[FRAME_PIPE] = BigInt(writeFd);
    withAllBlocked(libc, () => libc.run(code!, frames));
    pid = Number(frame(0)[FRAME_ANSWER]);
  }
  return pid;
}

/** Waits until the child is a program, or has ended, and uses krun's memory no longer. Returns 0, or -errno of what kept it. */
function awaitProgram(libc: Libc, pid: number, readFd: number): number {
  let wasStopped = false;
  while (!hasNews(libc, readFd)) {
    if (!isStopped(libc, pid)) continue;
    wasStopped = true;
    libc.kill(pid, SIGKILL);
  }
  if (wasStopped) return -ECANCELED;
  const frame = new BigInt64Array(FRAME_LENGTH);
  const hasFailed = libc.call("read", readFd, bytesOf(frame), frame.byteLength) > 0;
  return hasFailed ? Number(frame[FRAME_ANSWER]) : 0;
}

/** Waits until there is something in a pipe, or nobody left to write to it, but not for ever. */
function hasNews(libc: Libc, fd: number): boolean {
  const POLLIN = 1;
  // The kernel writes into both.
  const [entry, timeout] = [new Int32Array([fd, POLLIN]), new BigInt64Array([0n, BigInt(LOOK_MS * 1e6)])];
  return libc.call("ppoll", bytesOf(entry), 1, bytesOf(timeout), 0, 0) > 0;
}

function isStopped(libc: Libc, pid: number): boolean {
  const P_PID = 1, WNOHANG = 1, WSTOPPED = 2, WNOWAIT = 0x1000000;
  const info = new Int32Array(32);
  return libc.call("waitid", P_PID, pid, bytesOf(info), WSTOPPED | WNOHANG | WNOWAIT) === 0 && info[0] !== 0;
}
