/**
 * A name as krun's own `ls` shows it. In: a file. Out: whether its own line is meant or what is in it, and the line.
 *
 * @module
 */
import type { AccountNames } from "../core/account_names.ts";
import type { Clock } from "../core/clock.ts";
import { longLine } from "../core/ls_lines.ts";
import { FileFault, type FileStat, type UserFiles } from "../core/user_files.ts";

/** What is shown. */
export interface ListedName {
  readonly name: string;
  readonly path: string;
  /** Of a link itself; unset where it may not be known. */
  readonly stat?: FileStat | undefined;
}

/** What a line tells by. */
export interface ListedWorld {
  readonly files: UserFiles;
  readonly accounts: AccountNames;
  readonly clock: Clock;
}

/** The line of a name. `letters` are the options of ls(1). */
export function listedLine(
  { name, path, stat }: ListedName,
  { letters, world: { files, accounts, clock } }: {
    readonly letters: ReadonlySet<string>;
    readonly world: ListedWorld;
  },
): string {
  if (!letters.has("l")) return name;
  if (stat === undefined) return `?????????? ${name}`;
  const target = isLink(stat.mode) ? targetOf(files, path) : undefined;
  return longLine({ name, stat, target }, { accounts, nowSeconds: clock.nowMs() / 1000 });
}

/**
 * Whether what is in it is shown, instead of itself: folders, and links to them where they are not told of at length.
 *
 * @throws {FileFault}
 */
export function isListed(
  path: string,
  { files, letters }: { readonly files: UserFiles; readonly letters: ReadonlySet<string> },
): boolean {
  if (letters.has("d")) return false;
  const { mode } = files.linkStat(path);
  return isFolder(mode) || (!letters.has("l") && isLink(mode) && leadsToFolder(files, path));
}

function leadsToFolder(files: UserFiles, path: string): boolean {
  try {
    return isFolder(files.stat(path).mode);
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    return false;
  }
}

function targetOf(files: UserFiles, path: string): string | undefined {
  try {
    return files.readLink(path);
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    return undefined;
  }
}

const isFolder = (mode: number) => (mode & 0o170000) === 0o040000;
const isLink = (mode: number) => (mode & 0o170000) === 0o120000;
