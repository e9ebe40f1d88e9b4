/**
 * Starting a program, beside krun or in its place. In: path, arguments, environment. Out: a pid, or errno.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import type { Env } from "../core/pod_inputs.ts";
import { SIGPIPE } from "../core/signals.ts";
import { type Bytes, bytesOf, cString, type Libc, O_RDONLY, O_RDWR, O_WRONLY } from "./libc.ts";
import { withFormerMask } from "./signal_mask.ts";
import type { Starting } from "./user.ts";

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
  /** Makes the one call that starts the program; returns its errno, or why it did not make it. @default {it calls} */
  readonly starting?: Starting | undefined;
}

const POSIX_SPAWN_SETPGROUP = 2, POSIX_SPAWN_SETSIGDEF = 4, POSIX_SPAWN_SETSIGMASK = 8, POSIX_SPAWN_SETSID = 0x80;

/**
 * Starts a program as a child: leader of its own process group, the signals that krun was started with ignored, all others
 * at their default, everything else as krun has it.
 *
 * Returns its pid, or the negative errno of the step that failed. There is no fallback to /bin/sh for a file without `#!`.
 *
 * @throws {KrunError} `RuntimeTooOld` when `cwd` is given and glibc is older than 2.29.
 */
export function spawn(libc: Libc, image: Image, options: SpawnOptions): number {
  const pid = new Int32Array(1);
  const actions = fileActions(libc, options);
  const attributes = spawnAttributes(libc, options);
  const { starting = (start) => start() } = options;
  const errno = withVectors(libc, image, (argv, env) => {
    ignoreAgain(libc);
    const [path, pidBytes, { posix_spawn }] = [cString(image.path), bytesOf(pid), libc.spawn];
    const start = () => posix_spawn(pidBytes, path, actions, attributes, argv, env);
    return withFormerMask(libc, () => starting(start));
  });
  libc.spawn.posix_spawn_file_actions_destroy(actions);
  libc.spawn.posix_spawnattr_destroy(attributes);
  if (errno !== 0) {
    // The child took the terminal before it failed, and its group is gone.
    if (options.foregroundOf !== undefined) libc.setForegroundGroup(options.foregroundOf, libc.ownGroup());
    return -errno;
  }
  // Again for glibc before 2.35. A program that reads at once may have been stopped for an instant; see Terminal.
  if (options.foregroundOf !== undefined) libc.setForegroundGroup(options.foregroundOf, pid[0] ?? 0);
  return pid[0] ?? 0;
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

function fileActions(libc: Libc, { cwd, foregroundOf, nullFds = [], outputFd, session }: SpawnOptions): Bytes {
  const actions = new Uint8Array(256);
  libc.spawn.posix_spawn_file_actions_init(actions);
  for (const fd of nullFds) {
    libc.spawn.posix_spawn_file_actions_addopen(actions, fd, cString("/dev/null"), fd === 0 ? O_RDONLY : O_WRONLY, 0);
  }
  if (session !== undefined && "terminal" in session) {
    // Without O_NOCTTY: the first terminal that a session's leader opens is its own (tty_ioctl(4)).
    libc.spawn.posix_spawn_file_actions_addopen(actions, 0, cString(session.terminal), O_RDWR, 0);
  }
  // What dup2(2) makes is not close-on-exec, as the original is.
  for (const [fd, original] of duplicates({ outputFd, session })) {
    libc.spawn.posix_spawn_file_actions_adddup2(actions, original, fd);
  }
  if (cwd !== undefined) {
    if (!libc.spawn.posix_spawn_file_actions_addchdir_np) throw noChdir(cwd);
    libc.spawn.posix_spawn_file_actions_addchdir_np(actions, cString(cwd));
  }
  if (foregroundOf !== undefined) libc.spawn.posix_spawn_file_actions_addtcsetpgrp_np?.(actions, foregroundOf);
  return actions;
}

/** Which descriptors of the program are copies, and of what. */
function duplicates({ outputFd, session }: SpawnOptions): readonly (readonly [fd: number, original: number])[] {
  if (session !== undefined) return "terminal" in session ? [[1, 0], [2, 0]] : [...session.entries()];
  return outputFd === undefined ? [] : [[1, outputFd], [2, outputFd]];
}

function noChdir(cwd: string): KrunError {
  return new KrunError(
    "RuntimeTooOld",
    `Cannot start a program in folder "${cwd}": that needs glibc 2.29 or later`,
    "start krun in that folder and leave workingDir unset",
  );
}

function spawnAttributes(libc: Libc, { session }: SpawnOptions): Bytes {
  const attributes = new Uint8Array(512);
  libc.spawn.posix_spawnattr_init(attributes);
  // The mask is the empty one that posix_spawnattr_init(3) leaves. The leader of a session leads its group too.
  const kind = session === undefined ? POSIX_SPAWN_SETPGROUP : POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK;
  libc.spawn.posix_spawnattr_setflags(attributes, kind | POSIX_SPAWN_SETSIGDEF);
  const ignored = session === undefined ? libc.ignoredAtStart : [];
  // All 64, also 32 and 33: sigaddset(3) refuses these two, and glibc would leave them ignored in the child.
  const defaults = new BigUint64Array(16);
  defaults[0] = ignored.reduce((set, signal) => set & ~(1n << BigInt(signal - 1)), 0xffffffffffffffffn);
  libc.spawn.posix_spawnattr_setsigdefault(attributes, bytesOf(defaults));
  return attributes;
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
