/**
 * The paths that a client of scp's legacy protocol names, as a shell would hand them on. In: paths with `~` and patterns. Out: paths.
 * Rules: POSIX, sections 2.6.1 and 2.13.3.
 *
 * What a pattern costs is a stranger's choice, and paid by krun's main thread: each step may pause, and all of them are counted.
 *
 * @module
 */
import { bytesOfText } from "../core/byte_text.ts";
import {
  isWildcard,
  nameMatcher,
  type PathPart,
  pathParts,
  patternOfText,
  textOfPattern,
} from "../core/path_pattern.ts";
import type { ScpPath } from "../core/scp_command.ts";
import { statusOfErrno } from "../core/sftp_status.ts";
import { FileFault, type UserFiles } from "../core/user_files.ts";

/** The most that the patterns of one command may mean or cost. */
export interface PathLimits {
  /** Paths that are kept at a time. */
  readonly paths: number;
  /** Characters of those. */
  readonly characters: number;
  /** Names and paths that are looked at. */
  readonly steps: number;
}

/** More would not fit into a command either (execve(2): 2 MiB, as a stack is 8 MiB); a million steps are some seconds. */
export const PATH_LIMITS: PathLimits = { paths: 20_000, characters: 2 ** 21, steps: 1_000_000 };

/** With the NUL at its end (PATH_MAX, limits.h). */
const PATH_MAX = 4096;
const ENAMETOOLONG = 36;
const TOO_LONG = statusOfErrno(ENAMETOOLONG).words;

/** Options of {@linkcode PathSearch}. */
export interface PathOptions {
  readonly files: UserFiles;
  /** Where a user's home folder is, `""` being the session's own; `undefined` when there is no such user. */
  home(user: string): string | undefined;
  /** Called before each step; rejects when nobody waits any more. */
  pause(): Promise<void>;
  /** @default {PATH_LIMITS} */
  readonly limits?: PathLimits;
}

/** Why a word is not expanded. */
class Refusal extends Error {}

/** Paths, and how many characters they have. */
interface Found {
  readonly paths: string[];
  characters: number;
}

/** Finds what the words of one command mean. */
export class PathSearch {
  readonly #options: PathOptions;
  readonly #limits: PathLimits;
  #steps = 0;
  /** Of the words before. */
  readonly #given = { paths: 0, characters: 0 };

  constructor(options: PathOptions) {
    this.#options = options;
    this.#limits = options.limits ?? PATH_LIMITS;
  }

  /**
   * The paths that one word means, in order: those that are there, or where there is none the word itself. A reason instead, when it is
   * too long, or they are too many. Folders that cannot be read have nothing that is meant. Rejects as `pause` does.
   */
  async expand({ home, pattern }: ScpPath): Promise<string[] | string> {
    const folder = home === undefined ? undefined : this.#options.home(home);
    const begin = home === undefined ? "" : folder === undefined ? `~${home}` : patternOfText(folder);
    const whole = begin + pattern;
    const text = textOfPattern(whole);
    if (bytesOfText(text).length >= PATH_MAX) return TOO_LONG;
    if (!isWildcard(whole)) return [text];
    try {
      const paths = await this.#search(pathParts(whole));
      return paths.length > 0 ? paths.sort((one, other) => one < other ? -1 : 1) : [text];
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return error.message;
    }
  }

  async #search(parts: readonly PathPart[]): Promise<string[]> {
    let found: Found = { paths: [""], characters: 0 };
    for (const part of parts) {
      found = await ("text" in part ? this.#there(found.paths, part.text) : this.#meant(found.paths, part.wildcard));
      if (found.paths.length === 0) break;
    }
    this.#given.paths += found.paths.length;
    this.#given.characters += found.characters;
    return found.paths;
  }

  /** Those of the paths that are there also with the text behind them. */
  async #there(paths: readonly string[], text: string): Promise<Found> {
    const found: Found = { paths: [], characters: 0 };
    for (const path of paths) {
      await this.#step();
      if (isThere(this.#options.files, path + text)) this.#keep(found, path + text);
    }
    return found;
  }

  /** What is in the folders and has a name that is meant. */
  async #meant(folders: readonly string[], wildcard: string): Promise<Found> {
    const isMeant = nameMatcher(wildcard);
    if (isMeant === undefined) throw new Refusal(TOO_LONG);
    const found: Found = { paths: [], characters: 0 };
    for (const path of folders) {
      await this.#step();
      for (const name of namesIn(this.#options.files, path || ".")) {
        await this.#step();
        if (name !== "." && name !== ".." && isMeant(name)) this.#keep(found, path + name);
      }
    }
    return found;
  }

  async #step(): Promise<void> {
    const { steps } = this.#limits;
    if (++this.#steps > steps) throw new Refusal(`more than ${steps} names would have to be looked at`);
    await this.#options.pause();
  }

  #keep(found: Found, path: string): void {
    const { paths, characters } = this.#limits;
    found.paths.push(path);
    found.characters += path.length;
    if (this.#given.paths + found.paths.length > paths) throw new Refusal(`it means more than ${paths} paths`);
    if (this.#given.characters + found.characters <= characters) return;
    throw new Refusal(`it means paths of more than ${characters} characters together`);
  }
}

function* namesIn(files: UserFiles, path: string): Generator<string> {
  let folder;
  try {
    folder = files.openFolder(path);
    for (let some; (some = folder.entries()).length > 0;) yield* some.map(({ name }) => name);
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
