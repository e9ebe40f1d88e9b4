/**
 * Starting a program, beside krun or in its place. In: path, arguments, environment. Out: a pid, or errno.
 *
 * @module
 */
import type { Env } from "../core/pod_inputs.ts";
import { SIGKILL, SIGPIPE, SIGRTMAX, SIGSTOP } from "../core/signals.ts";
import { type ChildCall, may, must, startChild } from "./child.ts";
import {
  AT_FDCWD,
  type Bytes,
  bytesOf,
  cString,
  type Libc,
  O_RDONLY,
  O_RDWR,
  O_WRONLY,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  TIOCSPGRP,
} from "./libc.ts";
import { formerMask, MASK_BYTES, withFormerMask } from "./signal_mask.ts";
import type { User } from "./user.ts";

/** The file to execute, and what it is told. */
export interface Image {
  readonly path: string;
  readonly argv: readonly string[];
  readonly env: Env;
}

/** Standard input, output and error of a session: three descriptors of krun, or a terminal that is opened by its path. */
export type SessionStdio = readonly [input: number, output: number, error: number] | { readonly terminal: string };

/** Options of {@linkcode spawn}. */
export interface SpawnOptions {
  /** Working directory; unset: krun's own. */
  readonly cwd?: string | undefined;
  /** Descriptor of a terminal whose foreground group the program's becomes before the program runs. */
  readonly foregroundOf?: number | undefined;
  /** Which of 0, 1 and 2 are /dev/null; the others are krun's own. */
  readonly nullFds?: readonly number[];
  /** A descriptor of krun that is the program's standard output and error. */
  readonly outputFd?: number | undefined;
  /**
   * The program leads a session of its own instead of a group of krun's; a terminal becomes the session's controlling one. Every
   * signal is at its default and none is blocked, however krun was started: the session is its user's, not krun's.
   */
  readonly session?: SessionStdio | undefined;
  /** Who this thread is by its effective ids, and the program in every respect; unset: the program is what krun is. */
  readonly user?: Pick<User, "uid" | "gid"> | undefined;
  /** What the child does first. @default {nothing} */
  readonly before?: readonly ChildCall[];
}

/**
 * Starts a program as a child: leader of its own process group, the signals that krun was started with ignored, all others
 * at their default, everything else as krun has it.
 *
 * Returns its pid, or the negative errno of the step that failed. There is no fallback to /bin/sh for a file without `#!`.
 */
export function spawn(libc: Libc, image: Image, options: SpawnOptions): number {
  const { foregroundOf, before = [] } = options;
  const pid = bytesOf(new Int32Array(1));
  const calls = [
    ...before,
    ...signalCalls(libc, options),
    ...groupCalls(options, pid),
    ...descriptorCalls(options),
    ...userCalls(options),
  ];
  const mask = options.session === undefined ? formerMask(libc) : bytesOf(new BigUint64Array(1));
  const { path } = image;
  const result = withVectors(libc, image, (argv, env) => startChild(libc, { calls, mask, path, argv, env, pid }));
  // The child took the terminal before it failed, and its group is gone.
  if (result < 0 && foregroundOf !== undefined) libc.setForegroundGroup(foregroundOf, libc.ownGroup());
  return result;
}

/** Replaces krun by a program, with signals as {@linkcode spawn} gives them. Returns only when that failed: errno. */
export function exec(libc: Libc, image: Image): number {
  return withVectors(libc, image, (argv, env) => {
    ignoreAgain(libc);
    const restore = libc.setAction(SIGPIPE, "default");
    const errno = withFormerMask(libc, () => libc.attempt("execve", image.path, argv, env));
    restore();
    return errno;
  });
}

function signalCalls(libc: Libc, { session }: SpawnOptions): ChildCall[] {
  const SIG_IGN = 1n;
  const ignored = session === undefined ? libc.ignoredAtStart : [];
  const [byDefault, ignoring] = [0n, SIG_IGN].map((handler) => bytesOf(new BigUint64Array([handler, 0n, 0n, 0n])));
  return Array.from({ length: SIGRTMAX }, (_, index) => index + 1)
    .filter((signal) => signal !== SIGKILL && signal !== SIGSTOP)
    .map((signal) => may("rt_sigaction", signal, ignored.includes(signal) ? ignoring! : byDefault!, 0, MASK_BYTES));
}

/** The leader of a session leads its group too. */
function groupCalls({ session, foregroundOf }: SpawnOptions, pid: Bytes): ChildCall[] {
  const group = session === undefined ? must("setpgid", 0, 0) : must("setsid");
  // Every signal is blocked, SIGTTOU too.
  return foregroundOf === undefined ? [group] : [group, may("ioctl", foregroundOf, TIOCSPGRP, pid)];
}

function descriptorCalls({ nullFds = [], outputFd, session }: SpawnOptions): ChildCall[] {
  const opened = nullFds.flatMap((fd) => opening(fd, "/dev/null", fd === 0 ? O_RDONLY : O_WRONLY));
  // Without O_NOCTTY: the first terminal that a session's leader opens is its own (tty_ioctl(4)).
  if (session !== undefined && "terminal" in session) opened.push(...opening(0, session.terminal, O_RDWR));
  // What dup3(2) makes is not close-on-exec, as the original is.
  const copies = duplicates({ outputFd, session }).map(([fd, original]) => must("dup3", original, fd, 0));
  // What krun was started with beyond those is its program's to know, not a session's.
  const others = session === undefined ? [] : [may("close_range", 3, LAST_FD, CLOSE_RANGE_CLOEXEC)];
  return [...opened, ...copies, ...others];
}

/** As a number of 32 bits, and what is done to the range (close_range(2), Linux 5.11). */
const LAST_FD = 0xffffffff, CLOSE_RANGE_CLOEXEC = 4;

/** Opens a file as a descriptor below all that are open: a runtime sees to it that 0, 1 and 2 are. */
function opening(fd: number, path: string, flags: number): ChildCall[] {
  return [must("close", fd), must("openat", AT_FDCWD, path, flags, 0)];
}

/** Which descriptors of the program are copies, and of what. */
function duplicates({ outputFd, session }: SpawnOptions): readonly (readonly [fd: number, original: number])[] {
  if (session !== undefined) return "terminal" in session ? [[1, 0], [2, 0]] : [...session.entries()];
  return outputFd === undefined ? [] : [[1, outputFd], [2, outputFd]];
}

/** How a child becomes a user for good whom this thread is by its effective ids, to which anybody may set the others. */
export function becomingCalls({ uid, gid }: Pick<User, "uid" | "gid">): ChildCall[] {
  return [
    may("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL),
    must("setresgid", gid, gid, gid),
    must("setresuid", uid, uid, uid),
  ];
}

/** The child cannot come back, and enters its folder as the program's user. */
function userCalls({ user, cwd }: SpawnOptions): ChildCall[] {
  const becoming = user ? becomingCalls(user) : [];
  return cwd === undefined ? becoming : [...becoming, must("chdir", cwd)];
}

/** Deno's first listener catches HUP, INT and TERM too, and what is caught becomes default in a new program. */
function ignoreAgain(libc: Libc): void {
  for (const signal of libc.ignoredAtStart) libc.setAction(signal, "ignore");
}

/** Lays arguments and environment out in memory for the time of `body`. */
function withVectors(libc: Libc, { argv, env }: Image, body: (argv: bigint, env: bigint) => number): number {
  const vectors = [
    vector(libc, argv),
    vector(libc, Object.entries(env).map(([name, value]) => `${name}=${value}`)),
  ] as const;
  const result = body(libc.addressOf(vectors[0]), libc.addressOf(vectors[1]));
  // A use after `body`, so that the memory is not collected before.
  for (const bytes of vectors) bytes.fill(0);
  return result;
}

/** A NULL-terminated array of C strings in one piece of memory: first the pointers, then the strings. */
function vector(libc: Libc, texts: readonly string[]): Bytes {
  const strings = texts.map(cString);
  const pointers = new BigUint64Array(strings.length + 1);
  const bytes = bytesOf(new Uint8Array(strings.reduce((sum, string) => sum + string.length, pointers.byteLength)));
  const address = libc.addressOf(bytes);
  let offset = pointers.byteLength;
  strings.forEach((string, index) => {
    pointers[index] = address + BigInt(offset);
    bytes.set(string, offset);
    offset += string.length;
  });
  bytes.set(bytesOf(pointers));
  return bytes;
}
