/**
 * Removes what a journal names, and nothing else. In: entries. Out: those that could not be removed now.
 *
 * Nothing is followed: an element of a path that has become a link ends the matter. Doing it again, or after it was
 * interrupted, does no harm.
 *
 * @module
 */
import type { MadeEntry } from "../core/base_journal.ts";
import { basename, dirname } from "../core/posix_path.ts";
import { DATA_LINK, isVersionName, NEXT_LINK, visibleLink } from "../core/volume_plan.ts";
import { Folder } from "./folder.ts";
import { ERRNO, FileError } from "./libc_files.ts";

/** What came of a clean-up. */
export interface Swept {
  /** Entries whose removal failed and may succeed another time. */
  readonly failed: readonly { readonly entry: MadeEntry; readonly reason: string }[];
  /** Folders of krun that are not empty since somebody else put something in them. */
  readonly occupied: readonly string[];
}

/** Removes entries, last made first. Never throws for a thing that cannot be removed. */
export function sweepEntries(entries: readonly MadeEntry[]): Swept {
  const failed: { entry: MadeEntry; reason: string }[] = [];
  const occupied: string[] = [];
  for (const entry of entries.toReversed()) {
    try {
      if (!removeEntry(entry)) occupied.push(entry.path);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      // A name that the file system does not allow was noted and never made.
      if (error.errno !== ERRNO.ENAMETOOLONG) failed.unshift({ entry, reason: error.message });
    }
  }
  return { failed, occupied };
}

/** False: a folder that is not empty. */
function removeEntry(entry: MadeEntry): boolean {
  const name = basename(entry.path);
  using parent = Folder.openIfThere(dirname(entry.path));
  const found = parent?.stat(name);
  if (parent === undefined || found === undefined) return true;
  if (entry.made === "link") {
    if (parent.linkText(name) === entry.to) parent.unlink(name);
    return true;
  }
  if (found.kind !== "folder") return true;
  if (entry.made === "folder") return removeIfEmpty(parent, name);
  if (found.identity !== entry.identity) return true;
  if (entry.made === "tree") {
    parent.removeTree(name);
    return true;
  }
  using folder = parent.open(name);
  if (entry.made === "volume") removeVolume(folder);
  else for (const each of folder.list()) folder.removeTree(each);
  return true;
}

function removeIfEmpty(parent: Folder, name: string): boolean {
  try {
    parent.removeFolder(name);
    return true;
  } catch (error) {
    if (error instanceof FileError && error.errno === ERRNO.ENOTEMPTY) return false;
    throw error;
  }
}

function removeVolume(folder: Folder): void {
  for (const name of folder.list()) if (isOfVolume(folder, name)) folder.removeTree(name);
}

/** Whether a name in the folder of a volume is one that krun gives. */
function isOfVolume(folder: Folder, name: string): boolean {
  const text = folder.linkText(name);
  if (text !== undefined) return text === visibleLink(name) || name === DATA_LINK || name === NEXT_LINK;
  return isVersionName(name) && folder.stat(name)?.kind === "folder";
}

/** The paths that {@linkcode sweepEntries} would remove now; nothing is touched. @throws {FileError} */
export function sweptPaths(entries: readonly MadeEntry[]): ReadonlySet<string> {
  const swept = new Set<string>();
  for (const entry of entries.toReversed()) {
    const name = basename(entry.path);
    using parent = Folder.openIfThere(dirname(entry.path));
    const found = parent?.stat(name);
    if (parent === undefined || found === undefined) continue;
    if (entry.made === "link" && parent.linkText(name) === entry.to) swept.add(entry.path);
    if (entry.made === "link" || found.kind !== "folder") continue;
    using folder = parent.open(name);
    const inside = folder.list();
    const goes = (each: string) => swept.has(`${entry.path}/${each}`);
    if (entry.made === "folder" ? inside.every(goes) : entry.made === "tree" && found.identity === entry.identity) {
      swept.add(entry.path);
    } else if (entry.made !== "folder" && found.identity === entry.identity) {
      const names = entry.made === "volume" ? inside.filter((each) => isOfVolume(folder, each)) : inside;
      for (const each of names) swept.add(`${entry.path}/${each}`);
    }
  }
  return swept;
}
