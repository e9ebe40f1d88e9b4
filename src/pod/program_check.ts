/**
 * Whether a program could be started, without starting it. In: what to start. Out: the failure of a start.
 *
 * @module
 */
import { resolve } from "../core/posix_path.ts";
import { searchPath } from "../core/search_path.ts";
import { ENOENT, type Libc, loadLibc } from "./libc.ts";
import {
  checkTexts,
  type Failure,
  fromCwd,
  look,
  otherUser,
  programError,
  type ProgramSpec,
  runAsError,
  tryProgram,
} from "./program.ts";
import { asUser, ownUser } from "./user.ts";

const EACCES = 13, ENOEXEC = 8;

/**
 * Refuses what `Processes.start` would refuse, as far as that can be seen from outside. Not seen: a file of another kind or
 * for another machine, which the kernel may run by binfmt_misc.
 *
 * @throws {KrunError} `ProgramNotFound`, `ProgramNotExecutable`, `RunAsDenied`, `PodInvalid`.
 */
export function checkProgram(spec: ProgramSpec): void {
  const libc = loadLibc();
  checkTexts(spec);
  let failure: Failure | undefined;
  const run = () => void (failure = tryProgram(libc, spec, (path) => executeFailure(libc, fromCwd(spec, path))));
  const user = otherUser(libc, spec);
  const errno = user === undefined ? (run(), 0) : asUser(libc, user, run);
  if (user !== undefined && errno !== 0) throw runAsError(spec, user, { errno, self: ownUser(libc) });
  if (failure) throw programError(libc, spec, failure);
}

/** Every place at which a program's name is looked for, and its working directory. `cwd` is krun's own, absolute. */
export function programPlaces({ argv: [name], env, cwd }: ProgramSpec, { cwd: outer }: { cwd: string }): string[] {
  const folder = resolve(outer, cwd ?? ".");
  const files = name.includes("/") ? [name] : searchPath(env).map((each) => `${each}/${name}`);
  return [folder, ...files.map((file) => resolve(folder, file))];
}

/** The errno with which execve(2) would fail, 0 when no reason can be seen. */
function executeFailure(libc: Libc, path: string): number {
  const errno = libc.access(path, "execute");
  if (errno !== 0) return errno;
  const { isFolder, file } = look(libc, path);
  if (isFolder) return EACCES;
  if (file?.kind === "empty" || file?.kind === "text") return ENOEXEC;
  if (file?.kind === "script") return file.interpreter === "" ? ENOENT : libc.access(file.interpreter, "execute");
  // A loader for another machine may lie elsewhere.
  const loader = file?.kind === "elf" && file.machine === Deno.build.arch ? file.loader : undefined;
  return loader === undefined ? 0 : libc.access(loader, "execute");
}
