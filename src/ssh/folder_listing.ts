/**
 * What is in a folder, for krun's own `ls`. In: a folder. Out: its entries, one after the other.
 *
 * How much that is is a stranger's choice, and paid by krun's main thread: others have their turns, and what is held is bounded.
 *
 * @module
 */
import type { FolderEntry, UserFiles } from "../core/user_files.ts";
import type { SharedTurns } from "./shared_turns.ts";

/** As many entries are held to be sorted: some 10 MB of the longest names. */
const MOST_SORTED = 20_000;

/** Options of {@linkcode listFolder}. */
export interface FolderListingOptions {
  readonly files: UserFiles;
  /** Nothing more is shown once they are broken. */
  readonly turns: SharedTurns;
  /** Whether an entry is shown. */
  isShown(entry: FolderEntry): boolean;
  /** Resolves when there is room for the next one. */
  show(entry: FolderEntry): Promise<void>;
  /** @default {20000} */
  readonly mostSorted?: number;
}

/**
 * Shows what is in a folder, by name; where it is more than can be held, as the folder has it. Resolves to whether it was by name.
 * Rejects with {@linkcode FileFault}, and as `show` does.
 */
export async function listFolder(
  path: string,
  { files, turns, isShown, show, mostSorted = MOST_SORTED }: FolderListingOptions,
): Promise<boolean> {
  const showAll = async (entries: readonly FolderEntry[]) => {
    for (const entry of entries) {
      if (turns.broken.aborted) return;
      await show(entry);
    }
  };
  const folder = files.openFolder(path);
  let held: FolderEntry[] | undefined = [];
  try {
    for (let some; !turns.broken.aborted && (some = folder.entries()).length > 0;) {
      const shown = some.filter(isShown);
      if (held === undefined) await showAll(shown);
      else held.push(...shown);
      if (held !== undefined && held.length > mostSorted) {
        await showAll(held);
        held = undefined;
      }
      await turns.carried(0);
    }
  } finally {
    folder.close();
  }
  await showAll((held ?? []).sort((one, other) => one.name < other.name ? -1 : 1));
  return held !== undefined;
}
