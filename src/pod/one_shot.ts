/**
 * One-shot mode: krun is replaced by the program. In: what to execute. Out: nothing, ever, but an error.
 *
 * @module
 */
import type { KrunError } from "../core/errors.ts";
import { type Libc, loadLibc } from "./libc.ts";
import { openFilesAtStart, withOpenFiles } from "./open_files.ts";
import {
  checkTexts,
  type Failure,
  otherUser,
  programError,
  type ProgramSpec,
  runAsError,
  tryFolder,
  tryProgram,
} from "./program.ts";
import { exec } from "./spawn.ts";
import { becomeUser, ownUser } from "./user.ts";

/**
 * Replaces krun by a program: same pid, same terminal, same process group, nothing of krun left behind. The program gets the
 * signals ignored, the mask and the limit of open files that krun was started with.
 *
 * Call it last: all that is under way in krun ends without notice. When it throws, krun goes on, but as the program's user
 * and in its folder.
 *
 * @throws {KrunError} as {@linkcode Processes.start}.
 */
export function execInPlace(spec: ProgramSpec): never {
  throw tryExec(spec);
}

function tryExec(spec: ProgramSpec): KrunError {
  checkTexts(spec);
  const libc = loadLibc();
  const openFiles = openFilesAtStart(libc);
  const user = otherUser(libc, spec);
  const self = ownUser(libc);
  const errno = user === undefined ? 0 : becomeUser(libc, user);
  if (user && errno !== 0) return runAsError(spec, user, { errno, self });
  let failure = tryFolder(libc, spec);
  if (!failure) withOpenFiles(libc, openFiles, () => void (failure = tryHere(libc, spec)));
  return programError(libc, spec, failure ?? { errno: 0 });
}

/** Enters the working directory, and executes the program from there. */
function tryHere(libc: Libc, { cwd, ...here }: ProgramSpec): Failure | undefined {
  if (cwd !== undefined) Deno.chdir(cwd);
  return tryProgram(libc, here, (path) => exec(libc, { path, argv: here.argv, env: here.env }));
}
