/**
 * Claims a folder for a mount: absent, empty or made by this run, else nothing is touched.
 *
 * @module
 */
import { basename, dirname } from "../core/posix_path.ts";
import type { Owned } from "../core/volume_ownership.ts";
import { NEXT_LINK } from "../core/volume_plan.ts";
import type { BaseFolder } from "./base_folder.ts";
import type { ClaimKind } from "./claims.ts";
import { Folder } from "./folder.ts";
import { ERRNO, FileError } from "./libc_files.ts";
import { findPlace, inUse, type Place, type PlaceBase, type PlaceOptions } from "./place.ts";

/** A claimed folder. */
export interface ClaimedFolder {
  /** Absolute, free of links. */
  readonly path: string;
  /** For the journal. */
  readonly identity: string;
  /** It was there, empty: at the end it stays. */
  readonly wasThere: boolean;
}

/** Options of {@linkcode claimFolder}. */
export interface ClaimFolderOptions {
  readonly setting: string;
  /** Mode and owner of the folder, when krun makes it. */
  readonly owned: Owned;
  /** It may be outside the base. @default {false} */
  readonly anywhere?: boolean;
}

/** Name of the folder that shows whether a found folder can be written in. */
const PROBE = "..krun_probe";

/** Claims a folder. @throws {KrunError} `TargetInUse`, `TargetConflict`, `PathInvalid`; {@linkcode FileError} */
export function claimFolder(base: BaseFolder, path: string, options: ClaimFolderOptions): ClaimedFolder {
  const { owned } = options;
  const place = claimFolderPlace(base, path, options);
  if (place.found === undefined) {
    makeParents(base, place);
    return { path: place.path, identity: base.makeFolder(place.path, owned), wasThere: false };
  }
  using folder = Folder.open(place.path);
  const made = base.madeHere(place.path);
  if (!made) probe(base, folder);
  return { path: place.path, identity: folder.self().identity, wasThere: !made };
}

/**
 * Takes the place of a folder and makes nothing.
 *
 * @throws {KrunError} as {@linkcode claimFolder}; {@linkcode FileError}
 */
export function claimFolderPlace(
  base: PlaceBase,
  path: string,
  { setting, anywhere }: PlaceOptions,
): Place {
  const place = findPlace(base, path, { setting, anywhere });
  if (place.found !== undefined) {
    if (place.found.kind !== "folder") throw inUse({ path, setting, state: `a ${place.found.kind} stands there` });
    const first = base.madeHere(place.path) ? undefined : firstName(base, place.path);
    if (first !== undefined) throw inUse({ path, setting, state: `the folder is not empty, it holds "${first}"` });
  }
  base.claim(place.path, setting, "folder");
  return place;
}

function firstName(base: PlaceBase, path: string): string | undefined {
  using folder = Folder.open(path);
  const names = folder.list().filter((name) => !base.isLeftOver(`${path}/${name}`));
  return [...names, ...base.unmadeIn(path)][0];
}

/** See {@linkcode ClaimKind}. */
export type LinkKind = Exclude<ClaimKind, "folder">;

/** Options of {@linkcode claimLinkPlace}. */
export interface ClaimLinkOptions {
  readonly setting: string;
  readonly kind: LinkKind;
  /** It may be outside the base. @default {false} */
  readonly anywhere?: boolean;
}

/**
 * Claims a path for a link, which the caller makes later; its parents are made now.
 *
 * @returns the path, its parent free of links.
 * @throws {KrunError} as {@linkcode claimFolder}, for anything that is not absent; {@linkcode FileError}
 */
export function claimLinkPlace(base: BaseFolder, path: string, options: ClaimLinkOptions): string {
  const place = claimPlaceOfLink(base, path, options);
  makeParents(base, place);
  return place.path;
}

/**
 * Takes the place of a link and makes nothing.
 *
 * @throws {KrunError} as {@linkcode claimFolder}, for anything that is not absent; {@linkcode FileError}
 */
export function claimPlaceOfLink(base: PlaceBase, path: string, { setting, kind, anywhere }: ClaimLinkOptions): Place {
  const place = findPlace(base, path, { setting, anywhere });
  const found = place.found?.kind ?? (base.madeHere(place.path) ? "folder" : undefined);
  // First, since a folder may stand there for the sake of another mount.
  base.checkFree(place.path, setting, kind);
  if (found !== undefined) throw inUse({ path, setting, state: `a ${found} stands there` });
  base.claim(place.path, setting, kind);
  return place;
}

function makeParents(base: BaseFolder, { missing }: Place): void {
  for (const path of missing) base.makeFolder(path);
}

/**
 * Makes and removes a folder inside. So a folder that cannot be written in is noticed before anything else is made, and on
 * an overlay file system the folder has moved to the upper layer, after which its identity no longer changes.
 */
function probe(base: BaseFolder, folder: Folder): void {
  base.note({ made: "folder", path: `${folder.path}/${PROBE}` });
  folder.makeFolder(PROBE);
  folder.removeFolder(PROBE);
}

/** Puts a link at a claimed place, over the one that krun has put there before. @throws {FileError} */
export function placeLink(base: BaseFolder, path: string, to: string): void {
  const name = basename(path);
  using parent = Folder.open(dirname(path));
  const found = parent.stat(name);
  if (parent.linkText(name) === to) return;
  if (found !== undefined && found.kind !== "link") throw new FileError(ERRNO.EEXIST, "symlink", path);
  base.note({ made: "link", path, to });
  if (found === undefined) return parent.link(name, to);
  const next = `${NEXT_LINK}_${name.slice(0, 100)}`;
  base.note({ made: "link", path: `${dirname(path)}/${next}`, to });
  parent.link(next, to);
  parent.rename(next, name);
}
