/**
 * Mounts of one path inside a volume. In: a volume and a subPath. Out: a symlink at the mount path.
 *
 * The kubelet resolves a subPath when the container starts, checks that it is inside the volume and bind-mounts what it found
 * (Kubernetes v1.34 pkg/volume/util/subpath). krun makes one symlink to the resolved path instead: of a Secret or ConfigMap
 * into the version then in force, which stays on disk as long as the link points there. So the mount does not follow later
 * changes until the container starts again, as in a Pod.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { join, normalize } from "../core/posix_path.ts";
import { isVersionName } from "../core/volume_plan.ts";
import type { BaseFolder } from "./base_folder.ts";
import { claimLinkPlace, placeLink } from "./claimed_folder.ts";
import { explained } from "./file_fault.ts";
import { Folder } from "./folder.ts";
import { realPath } from "./libc_files.ts";

/** A volume of which a part can be mounted. */
export interface SubPathVolume {
  /** Absolute path, free of links, of the folder that shows the volume. */
  readonly folder: string;
  /** Absolute path, free of links, of the folder in which its versions lie, when that is another. */
  readonly store?: string | undefined;
  /** Keeps a version on disk; of a volume without versions there is none to keep. */
  readonly pin?: (version: string) => void;
  /** Lets it go. */
  readonly unpin?: (version: string) => void;
}

/** Options of {@linkcode claimSubPath}. */
export interface SubPathOptions {
  /** Who asked, for messages. */
  readonly setting: string;
  readonly volume: SubPathVolume;
  /** Relative; empty: the volume itself. */
  readonly subPath: string;
}

/** A mount of one path inside a volume. */
export interface SubPathMount {
  /** The mount path. */
  readonly path: string;
  /**
   * Resolves the subPath as the volume is now and points the mount there. Call it at each start of its container. What does
   * not exist becomes a folder, as in a Pod.
   *
   * @throws {KrunError} `PathInvalid` when it leads out of the volume, `TargetUnwritable`, `NoSpace`.
   */
  resolve(): void;
}

/**
 * Claims `path` for something inside a volume. Nothing is there until the first `resolve`.
 *
 * @throws {KrunError} `TargetInUse`, `TargetConflict`, `TargetUnwritable`, `PathInvalid`, `NoSpace`.
 */
export function claimSubPath(base: BaseFolder, path: string, options: SubPathOptions): SubPathMount {
  checkSubPath(options);
  const place = explained(`mount at "${path}"`, () => claimLinkPlace(base, path, { ...options, kind: "link later" }));
  return new LinkedSubPath(base, path, { ...options, place });
}

class LinkedSubPath implements SubPathMount {
  #pinned: string | undefined;

  constructor(
    readonly base: BaseFolder,
    readonly path: string,
    readonly options: SubPathOptions & { readonly place: string },
  ) {}

  resolve(): void {
    const { volume, place } = this.options;
    const to = explained(`mount at "${this.path}"`, () => this.#find());
    const version = versionOf(to, volume);
    if (version !== undefined) volume.pin?.(version);
    explained(`mount at "${this.path}"`, () => placeLink(this.base, place, to));
    if (this.#pinned !== undefined) volume.unpin?.(this.#pinned);
    this.#pinned = version;
  }

  #find(): string {
    const { volume, subPath } = this.options;
    const { real, missing } = existingBelow(volume.folder, normalize(subPath).split("/"));
    this.#checkInside(real);
    let path = real;
    for (const name of missing) {
      using root = Folder.open(volume.folder);
      using parent = Folder.open(path);
      path = join(path, name);
      // A link to nothing: what it would lead to is not ours to make.
      if (parent.stat(name) !== undefined) throw this.#outside(path);
      this.base.makeFolder(path, { mode: root.self().mode, uid: undefined, gid: undefined });
    }
    return path;
  }

  #checkInside(real: string): void {
    const { volume } = this.options;
    const within = (folder: string | undefined) => real === folder || real.startsWith(`${folder}/`);
    if (!within(volume.folder) && !within(volume.store)) throw this.#outside(real);
  }

  #outside(real: string): KrunError {
    const { subPath, setting } = this.options;
    return new KrunError(
      "PathInvalid",
      `Cannot mount subPath "${subPath}" at "${this.path}" for ${setting}: links in the volume lead to "${real}"`,
      "name a subPath that stays inside its volume",
    );
  }
}

/** The longest part of a path below a folder that exists, links resolved, and the names that follow it. */
function existingBelow(folder: string, names: readonly string[]): { real: string; missing: string[] } {
  const real = realPath(join(folder, ...names));
  if (real !== undefined) return { real, missing: [] };
  const before = existingBelow(folder, names.slice(0, -1));
  return { real: before.real, missing: [...before.missing, names.at(-1)!] };
}

function versionOf(real: string, { folder, store = folder }: SubPathVolume): string | undefined {
  if (!real.startsWith(`${store}/`)) return undefined;
  const name = real.slice(store.length + 1).split("/")[0]!;
  return isVersionName(name) ? name : undefined;
}

/**
 * Refuses a subPath that is not inside its volume. Rules: Kubernetes v1.34 pkg/apis/core/validation
 * (validateLocalDescendingPath).
 *
 * @throws {KrunError} `PathInvalid`
 */
export function checkSubPath({ subPath, setting }: Pick<SubPathOptions, "subPath" | "setting">): void {
  if (!subPath.startsWith("/") && !subPath.split("/").includes("..") && !subPath.includes("\0")) return;
  throw new KrunError(
    "PathInvalid",
    `Cannot mount subPath ${JSON.stringify(subPath)} for ${setting}: it is not a path inside its volume`,
    "use a relative path without two dots as an element",
  );
}
