/**
 * A file as a line of `ls -l`. In: what the kernel says of it. Out: one line. Rules: POSIX ls(1), and for SFTP's long names what
 * OpenSSH's sftp-server prints; times in UTC, since a container's zone is nobody's.
 *
 * @module
 */
import type { AccountNames } from "./account_names.ts";
import type { FileStat } from "./user_files.ts";

/** A file that is shown. */
export interface ListedFile {
  readonly name: string;
  readonly stat: FileStat;
  /** What a link says. */
  readonly target?: string | undefined;
}

/** What a line depends on besides. */
export interface LineContext {
  readonly accounts: AccountNames;
  /** Now, seconds since the epoch: what is older than half a year, or of the future, shows its year. */
  readonly nowSeconds: number;
}

/** Type bits of a mode (inode(7)) → the letter. */
const KINDS: ReadonlyMap<number, string> = new Map([
  [0o140000, "s"],
  [0o120000, "l"],
  [0o100000, "-"],
  [0o060000, "b"],
  [0o040000, "d"],
  [0o020000, "c"],
  [0o010000, "p"],
]);

/** Ten characters: kind and permissions, as `drwxr-xr-x`. */
export function modeText(mode: number): string {
  const kind = KINDS.get(mode & 0o170000) ?? "?";
  const bits = (shift: number, special: string, isSpecial: boolean) => {
    const three = mode >> shift & 7;
    const last = isSpecial ? (three & 1 ? special : special.toUpperCase()) : three & 1 ? "x" : "-";
    return (three & 4 ? "r" : "-") + (three & 2 ? "w" : "-") + last;
  };
  return kind + bits(6, "s", (mode & 0o4000) !== 0) + bits(3, "s", (mode & 0o2000) !== 0) +
    bits(0, "t", (mode & 0o1000) !== 0);
}

const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const HALF_YEAR_SECONDS = 365 * 24 * 3600 / 2;
/** What a Date holds at most (ECMA-262). */
const LAST_SECONDS = 8.64e12;

/** Twelve characters or more: `Jan  2 15:04`, or `Jan  2  2024`. */
export function timeText(seconds: number, nowSeconds: number): string {
  if (Math.abs(seconds) > LAST_SECONDS) return String(seconds).padStart(12);
  const date = new Date(seconds * 1000);
  const isRecent = seconds <= nowSeconds && nowSeconds - seconds < HALF_YEAR_SECONDS;
  const two = (value: number) => String(value).padStart(2, "0");
  const end = isRecent ? `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}` : String(date.getUTCFullYear());
  return `${MONTHS[date.getUTCMonth()]} ${String(date.getUTCDate()).padStart(2)} ${end.padStart(5)}`;
}

/** A line as `ls -l` prints it, without an end. */
export function longLine({ name, stat, target }: ListedFile, { accounts, nowSeconds }: LineContext): string {
  const { mode, links, uid, gid, sizeBytes, modifiedSeconds } = stat;
  const user = (accounts.userName(uid) ?? String(uid)).padEnd(8);
  const group = (accounts.groupName(gid) ?? String(gid)).padEnd(8);
  const numbers = [modeText(mode), String(links).padStart(3), user, group, String(sizeBytes).padStart(8)];
  return [...numbers, timeText(modifiedSeconds, nowSeconds), name].join(" ") +
    (target === undefined ? "" : ` -> ${target}`);
}
