/**
 * The place at which something is mounted. In: a path. Out: where it really is and what stands there. Nothing is
 * touched but what a killed run left.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { STATE_FOLDER } from "../core/mount_path.ts";
import { basename, dirname, join } from "../core/posix_path.ts";
import { DATA_LINK, isVersionName } from "../core/volume_plan.ts";
import type { ClaimKind } from "./claims.ts";
import { Folder } from "./folder.ts";
import { type FileStat, realPath } from "./libc_files.ts";

/** A base in which places are looked for: a `BaseFolder`, or a `SeenBase`, in which nothing is made. */
export interface PlaceBase {
  /** Absolute, free of links. */
  readonly base: string;
  /** Removes what a killed run left. */
  sweep(): void;
  /** Whether the next sweep removes what stands at a path, its parent free of links. */
  isLeftOver(path: string): boolean;
  /** Whether this run made a folder, or would have. */
  madeHere(path: string): boolean;
  /** Names that this run would have made in a folder and has not. */
  unmadeIn(path: string): readonly string[];
  /** Takes a place for the mount that `setting` asks for. @throws {KrunError} `TargetConflict` */
  claim(path: string, setting: string, kind: ClaimKind): void;
  /** Makes sure that a place is still free. @throws {KrunError} `TargetConflict` when another mount has it or is in its way. */
  checkFree(path: string, setting: string, kind: ClaimKind): void;
}

/** A place for a mount. */
export interface Place {
  /** Absolute, every link resolved. */
  readonly path: string;
  /** Folders to make before, outermost first. */
  readonly missing: readonly string[];
  /** What stands there; `undefined`: nothing. */
  readonly found: FileStat | undefined;
}

/** Who looks for a place. */
export interface PlaceOptions {
  /** For messages. */
  readonly setting: string;
  /** It may be outside the base. @default {false} */
  readonly anywhere?: boolean | undefined;
}

/**
 * Finds the place of `path`, below the base unless it may be anywhere. Links that are there are followed, as long as they stay
 * below the base.
 *
 * @throws {KrunError} `PathInvalid` when it leaves the base, `TargetInUse` when a file or a link to nothing is in its way,
 * `TargetConflict` when it is inside the files of another volume; {@linkcode FileError}
 */
export function findPlace(base: PlaceBase, path: string, { setting, anywhere = false }: PlaceOptions): Place {
  base.sweep();
  const parent = realPath(dirname(path));
  // Before links are resolved: at a mount of one file stands a link of krun's own.
  if (parent !== undefined) {
    const unfollowed = join(parent, basename(path));
    base.checkFree(unfollowed, setting, "folder");
    if (base.isLeftOver(unfollowed)) {
      checkInside(base, unfollowed, { path, setting, anywhere });
      return { path: unfollowed, missing: [], found: undefined };
    }
  }
  const { real, names } = existingPart(path);
  checkInside(base, join(real, ...names), { path, setting, anywhere });
  const [first] = names;
  if (first === undefined) {
    using folder = Folder.open(dirname(real));
    return { path: real, missing: [], found: folder.stat(basename(real)) };
  }
  using folder = Folder.openIfThere(real);
  if (folder === undefined) throw inUse({ path, setting, state: `"${real}" is not a folder` });
  // It exists, but its real path does not.
  if (folder.stat(first) !== undefined) {
    throw inUse({ path, setting, state: `"${folder.path}/${first}" is a link to nothing` });
  }
  const paths = names.map((_, at) => join(real, ...names.slice(0, at + 1)));
  return { path: paths.at(-1)!, missing: paths.slice(0, -1), found: undefined };
}

/** The longest part of a path that exists, links resolved, and the names that follow it. */
function existingPart(path: string): { real: string; names: string[] } {
  const real = realPath(path);
  if (real !== undefined) return { real, names: [] };
  const before = existingPart(dirname(path));
  return { real: before.real, names: [...before.names, basename(path)] };
}

/** What a message says of a mount. */
interface Refusal {
  readonly path: string;
  readonly setting: string;
  readonly state: string;
}

/** The error for a place that something else has. */
export function inUse({ path, setting, state }: Refusal): KrunError {
  return new KrunError(
    "TargetInUse",
    `Cannot mount at "${path}" for ${setting}: ${state}`,
    "move it away, or mount at a path that is absent or an empty folder",
  );
}

function checkInside(
  base: PlaceBase,
  real: string,
  { path, setting, anywhere }: Omit<Refusal, "state"> & { readonly anywhere: boolean },
): void {
  const below = base.base === "/" ? "/" : `${base.base}/`;
  const isInside = real === base.base || real.startsWith(below);
  if (!isInside && anywhere) return;
  if (!isInside) {
    throw new KrunError(
      "PathInvalid",
      `Cannot mount at "${path}" for ${setting}: links lead to "${real}", outside of base folder "${base.base}"`,
      "mount at a path that stays below the base, or set MESH_BASE_DIR",
    );
  }
  const names = real.slice(below.length).split("/");
  if (names[0] !== STATE_FOLDER && !names.some((name) => name === DATA_LINK || isVersionName(name))) return;
  throw new KrunError(
    "TargetConflict",
    `Cannot mount at "${path}" for ${setting}: "${real}" belongs to another volume`,
    `give ${setting} a path that is not inside another mount`,
  );
}
