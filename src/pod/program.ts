/**
 * Which file a program's name means, and why it could not be executed. In: the name, the program's environment and working
 * directory. Out: the first file that starts, or a {@linkcode KrunError}.
 *
 * A name without a slash is looked up in the PATH of the program's own environment, as a container runtime and a shell do,
 * not in krun's. Without a PATH the container runtimes' default is taken.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { execFailure } from "../core/exec_failure.ts";
import type { Env } from "../core/pod_inputs.ts";
import { PROGRAM_FILE_BYTES, type ProgramFile, programFile } from "../core/program_file.ts";
import { searchPath } from "../core/search_path.ts";
import { EACCES, EINVAL, ENOENT, ENOTDIR, type Libc } from "./libc.ts";
import { ownUser, sameUser, type User } from "./user.ts";

/** What to execute, and as whom. */
export interface ProgramSpec {
  /** The program and its arguments. A name without a slash is looked up in the PATH of `env`. */
  readonly argv: readonly [string, ...string[]];
  /** The program as its manifest spells it, for messages: `$(VAR)` in it may stand for a Secret. @default {`argv[0]`} */
  readonly shown?: string;
  /** The whole environment of the program. */
  readonly env: Env;
  /** Working directory; unset: krun's own. */
  readonly cwd?: string;
  /** User id; unset: krun's own. */
  readonly uid?: number;
  /** Group id; unset: krun's own. */
  readonly gid?: number;
  /** Supplementary groups, the whole list; unset: none when `uid` or `gid` is given, else krun's own. */
  readonly groups?: readonly number[];
}

/** What messages call a program. */
export function shownName({ shown, argv }: Pick<ProgramSpec, "shown" | "argv">): string {
  return shown ?? argv[0];
}

/** A file that did not start. */
export interface Failure {
  readonly errno: number;
  /** The file; absent when none of that name was found. */
  readonly path?: string;
  /** The working directory could not be entered; no file was tried. */
  readonly cwd?: boolean;
}

/**
 * Tries the files that a program's name can mean until `attempt`, which returns errno, returns 0. Returns the failure that
 * counts, else `undefined`. Call it as the user who will run the program.
 */
export function tryProgram(libc: Libc, spec: ProgramSpec, attempt: (path: string) => number): Failure | undefined {
  const [name] = spec.argv;
  const folder = tryFolder(libc, spec);
  if (folder) return folder;
  if (name.includes("/")) {
    const errno = attempt(name);
    return errno === 0 ? undefined : { errno, path: name };
  }
  let denied: Failure | undefined;
  for (const path of name === "" ? [] : searchPath(spec.env).map((folder) => `${folder}/${name}`)) {
    // Not there, or in a folder that its user may not enter: a shell passes over both.
    if (libc.access(fromCwd(spec, path), "exists") !== 0) continue;
    const errno = attempt(path);
    if (errno === 0) return undefined;
    // A folder, or a file that is not executable, hides nothing that comes later in PATH (execvp(3)).
    if (errno !== EACCES) return { errno, path };
    denied ??= { errno, path };
  }
  return denied ?? { errno: ENOENT };
}

/** The failure to enter a program's working directory as this thread's user; `undefined` when it can be entered. */
export function tryFolder(libc: Libc, { cwd }: ProgramSpec): Failure | undefined {
  const errno = cwd === undefined ? 0 : libc.access(`${cwd}/.`, "execute");
  return errno === 0 ? undefined : { errno, cwd: true };
}

/** The error that says why a program did not start. Looks at the file, so call it as krun's own user. */
export function programError(libc: Libc, spec: ProgramSpec, { errno, path, cwd }: Failure): KrunError {
  const name = shownName(spec);
  if (cwd) return folderError(name, spec.cwd ?? "", errno);
  const seen = path === undefined ? {} : look(libc, fromCwd(spec, path));
  const searched = searchPath(spec.env).join(":");
  // Every path ends in the name that was looked for.
  const shown = path === undefined ? path : path.slice(0, -spec.argv[0].length) + name;
  return execFailure({ name, path: shown, searched, errno, machine: Deno.build.arch, ...seen });
}

/**
 * Refuses what no program can be given: a NUL byte, or a variable without a name.
 *
 * @throws {KrunError} `PodInvalid`, naming the variable or the argument, never its value.
 */
export function checkTexts(spec: ProgramSpec): void {
  const { argv, env, cwd } = spec;
  const refuse = (what: string) => {
    throw new KrunError(
      "PodInvalid",
      `Cannot start program "${shownName(spec).replaceAll("\0", "\\0")}": ${what}`,
      "mount binary data as a file instead",
    );
  };
  if (cwd?.includes("\0")) refuse("its working directory holds a NUL byte");
  for (const [index, argument] of argv.entries()) {
    if (argument.includes("\0")) refuse(`argument ${index} holds a NUL byte`);
  }
  for (const [name, value] of Object.entries(env)) {
    if (name === "" || /[=\0]/.test(name)) refuse(`environment variable ${JSON.stringify(name)} has no legal name`);
    if (value.includes("\0")) refuse(`the value of environment variable "${name}" holds a NUL byte`);
  }
}

/**
 * As whom a program runs when that is not who the calling thread is, else `undefined`. A thread whose sockets have a group of
 * their own is nobody's like.
 */
export function otherUser(libc: Libc, { uid, gid, groups }: ProgramSpec): User | undefined {
  const isUnset = uid === undefined && gid === undefined && groups === undefined;
  if (isUnset && libc.fileGroup === undefined) return undefined;
  const self = ownUser(libc);
  const user = isUnset ? self : { uid: uid ?? self.uid, gid: gid ?? self.gid, groups: groups ?? [] };
  return libc.fileGroup === undefined && sameUser(self, user) ? undefined : user;
}

/** The error for a user that krun may not become. */
export function runAsError(spec: ProgramSpec, user: User, { errno, self }: { errno: number; self: User }): KrunError {
  const reason = errno === EINVAL
    ? "this user namespace has no such user or group"
    : `krun runs as user ${self.uid} without the right to become another, or to end its programs`;
  return new KrunError(
    "RunAsDenied",
    `Cannot start program "${
      shownName(spec)
    }" as user ${user.uid}, group ${user.gid}, groups [${user.groups}]: ${reason}`,
    "start krun as root with the capabilities SETUID, SETGID and KILL, or remove KRUN_RUN_AS and runAsUser",
  );
}

/** A path that is relative to the program's working directory, as krun itself can open it. */
export function fromCwd({ cwd }: Pick<ProgramSpec, "cwd">, path: string): string {
  return cwd === undefined || path.startsWith("/") ? path : `${cwd}/${path}`;
}

function folderError(name: string, cwd: string, errno: number): KrunError {
  const state = errno === ENOENT
    ? "it does not exist"
    : errno === ENOTDIR
    ? "it is not a folder"
    : "its user may not enter it";
  return new KrunError(
    "PodInvalid",
    `Cannot start program "${name}" in folder "${cwd}": ${state}`,
    "correct workingDir, or make the folder",
  );
}

/** What can be seen of a file that did not start, or shall be started. Never throws. */
export function look(
  libc: Libc,
  path: string,
): { file?: ProgramFile; isFolder?: boolean; mode?: number | undefined; noexec?: boolean } {
  try {
    const { isDirectory, isFile, mode } = Deno.statSync(path);
    const seen = { isFolder: isDirectory, mode: mode ?? undefined, noexec: libc.isNoexec(path) };
    // Only a regular file: to open a named pipe waits for its other end.
    return isFile ? { ...seen, file: programFile(head(path)) } : seen;
  } catch {
    return {};
  }
}

function head(path: string): Uint8Array {
  using file = Deno.openSync(path);
  const bytes = new Uint8Array(PROGRAM_FILE_BYTES);
  return bytes.subarray(0, file.readSync(bytes) ?? 0);
}
