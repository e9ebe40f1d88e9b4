/**
 * The paths that a client of scp's legacy protocol names, as a shell would hand them on. In: paths with `~` and patterns. Out: paths.
 * Rules: POSIX, sections 2.6.1 and 2.13.3.
 *
 * @module
 */
import { isWildcard, nameMatcher, patternOfText, textOfPattern } from "../core/path_pattern.ts";
import type { ScpPath } from "../core/scp_command.ts";
import { FileFault, type UserFiles } from "../core/user_files.ts";

/** The most paths that one pattern may mean: more would not fit into a command either. */
export const MOST_PATHS = 20_000;

/** No path is longer (PATH_MAX), and each character of a pattern may have a backslash. */
const LONGEST_PATTERN = 2 * 4096;

/** Options of {@linkcode expandPath}. */
export interface PathOptions {
  readonly files: UserFiles;
  /** Where a user's home folder is, `""` being the session's own; `undefined` when there is no such user. */
  home(user: string): string | undefined;
  /** Called now and then; rejects when nobody waits any more. */
  pause(): Promise<void>;
}

/**
 * The paths that one word means, in order: those that are there, or where there is none the word itself. A reason instead, when they are
 * too many. Folders that cannot be read have nothing that is meant.
 */
export async function expandPath({ home, pattern }: ScpPath, options: PathOptions): Promise<string[] | string> {
  const folder = home === undefined ? undefined : options.home(home);
  const begin = home === undefined ? "" : folder === undefined ? `~${home}` : patternOfText(folder);
  const whole = begin + pattern;
  if (!isWildcard(whole)) return [textOfPattern(whole)];
  if (whole.length > LONGEST_PATTERN) return "the name is too long";
  let paths = [""];
  for (const part of whole.split(/(\/+)/)) {
    paths = isWildcard(part)
      ? await meant(paths, { part, ...options })
      : paths.map((path) => path + textOfPattern(part));
    if (paths.length > MOST_PATHS) return `it means more than ${MOST_PATHS} paths`;
  }
  const there: string[] = [];
  for (const path of paths) {
    if (isThere(options.files, path)) there.push(path);
    await options.pause();
  }
  return there.length > 0 ? there.sort((one, other) => one < other ? -1 : 1) : [textOfPattern(whole)];
}

/** What is in the folders and has a name that is meant; not all of it when it is too much. */
async function meant(
  folders: readonly string[],
  { part, files, pause }: PathOptions & { readonly part: string },
): Promise<string[]> {
  const matches = nameMatcher(part);
  const found: string[] = [];
  for (const path of folders) {
    for await (const name of namesIn(files, { path: path || ".", pause })) {
      if (name !== "." && name !== ".." && matches(name)) found.push(path + name);
      if (found.length > MOST_PATHS) return found;
    }
  }
  return found;
}

async function* namesIn(
  files: UserFiles,
  { path, pause }: Pick<PathOptions, "pause"> & { readonly path: string },
): AsyncGenerator<string> {
  let folder;
  try {
    folder = files.openFolder(path);
    for (let some; (some = folder.entries()).length > 0;) {
      for (const { name } of some) yield name;
      await pause();
    }
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
  } finally {
    folder?.close();
  }
}

function isThere(files: UserFiles, path: string): boolean {
  try {
    files.linkStat(path);
    return true;
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    return false;
  }
}
