/**
 * emptyDir volumes. In: what the Pod asks for. Out: an empty folder that everybody in the Pod may write in, gone at the end.
 *
 * @module
 */
import { emptyDirFolder, type Owned, type VolumeOwnership } from "../core/volume_ownership.ts";
import type { BaseFolder } from "./base_folder.ts";
import { claimFolder, claimLinkPlace, placeLink } from "./claimed_folder.ts";
import { explained } from "./file_fault.ts";
import { Folder } from "./folder.ts";
import { realPath } from "./libc_files.ts";

/** Options of {@linkcode claimEmptyDir}. */
export interface EmptyDirOptions {
  /** Who asked, for messages. */
  readonly setting: string;
  /** Name of the Pod's volume. */
  readonly volume: string;
  /** `medium: Memory`. Where there is no memory file system, the folder lies on disk. */
  readonly memory: boolean;
  readonly ownership: VolumeOwnership;
}

/** A claimed emptyDir volume. */
export interface EmptyDir {
  /** Absolute path, free of links, of the folder that holds the files. */
  readonly folder: string;
}

/**
 * Makes an emptyDir. `path` is its first mount without subPath: the folder itself stands there, or with `memory` a link to it;
 * all further mounts are `claimSubPath`. `undefined` when it has none.
 *
 * An empty folder that is found is used with the mode and owner that it has, and where it lies, which is a warning when a Pod
 * would have it otherwise; what is in it at the end is removed, it stays.
 *
 * @throws {KrunError} `TargetInUse`, `TargetConflict`, `TargetUnwritable`, `PathInvalid`, `NoSpace`.
 */
export function claimEmptyDir(base: BaseFolder, path: string | undefined, options: EmptyDirOptions): EmptyDir {
  const { setting, volume, memory } = options;
  return explained(`make volume "${volume}"${path === undefined ? "" : ` at "${path}"`}`, () => {
    const owned = emptyDirFolder(options.ownership);
    const wasThere = path !== undefined && realPath(path) !== undefined;
    const store = memory && !wasThere ? base.memoryStore(volume, { ...options, owned }) : undefined;
    if (store !== undefined) {
      if (path !== undefined) placeLink(base, claimLinkPlace(base, path, { setting, kind: "link" }), store);
      return { folder: store };
    }
    if (path === undefined) return { folder: hiddenFolder(base, options) };
    const claimed = claimFolder(base, path, { setting, owned });
    base.note({ made: claimed.wasThere ? "contents" : "tree", path: claimed.path, identity: claimed.identity });
    if (claimed.wasThere) warnOfFound(base, claimed.path, { volume, memory, owned });
    return { folder: claimed.path };
  });
}

/** Says in what the folder that was there is not the emptyDir of a Pod. */
function warnOfFound(
  base: BaseFolder,
  path: string,
  { volume, memory, owned }: { volume: string; memory: boolean; owned: Owned },
): void {
  using folder = Folder.open(path);
  const { mode, gid } = folder.self();
  const differences = [
    ...memory && !folder.inMemory() ? ["it lies on disk, not in memory"] : [],
    ...mode !== owned.mode ? [`its mode is ${octal(mode)}, not ${octal(owned.mode)}`] : [],
    ...owned.gid !== undefined && gid !== owned.gid ? [`its group is ${gid}, not ${owned.gid}`] : [],
  ];
  if (differences.length === 0) return;
  base.log.warn("emptyDir is a folder that was there", { volume, path, differences: differences.join("; ") });
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}

function hiddenFolder(base: BaseFolder, { volume, ownership }: EmptyDirOptions): string {
  const path = base.volumePath(volume);
  base.letThrough();
  const identity = base.makeFolder(path, emptyDirFolder(ownership));
  base.note({ made: "tree", path, identity });
  return path;
}
