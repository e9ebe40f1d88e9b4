/**
 * Claims the places at which volumes of files are mounted: absent, empty or krun's own, else nothing is touched. In: a path
 * and what shall stand there. Out: something to publish files to.
 *
 * Which call for which mount:
 * - Secret, ConfigMap, projected, downwardAPI volume: {@linkcode claimTarget}.
 * - the same, one file of it that stays fresh (`?key=`): {@linkcode claimTarget} with `single`.
 * - the same with subPath: {@linkcode claimVolume} once per volume, {@linkcode claimSubPath} per mount.
 * - emptyDir: {@linkcode claimEmptyDir} for the first mount without subPath, {@linkcode claimSubPath} for all others.
 * - hostPath: {@linkcode claimHostPath}.
 *
 * Claim every mount of a Pod before the first is published: one below another then is a folder in it, as in a Pod.
 *
 * @module
 */
import type { Payload } from "../core/payload.ts";
import { basename, dirname, join, relative } from "../core/posix_path.ts";
import { ownedFolder, type VolumeOwnership } from "../core/volume_ownership.ts";
import { AtomicWriter } from "./atomic_writer.ts";
import type { BaseFolder } from "./base_folder.ts";
import { type ClaimedFolder, claimFolder, claimLinkPlace, placeLink } from "./claimed_folder.ts";
import { explained } from "./file_fault.ts";
import { Folder } from "./folder.ts";
import type { SubPathVolume } from "./sub_path.ts";

export { claimEmptyDir, type EmptyDir, type EmptyDirOptions } from "./empty_dir.ts";
export { claimHostPath, type HostPathOptions } from "./host_path.ts";
export { claimSubPath, type SubPathMount, type SubPathOptions } from "./sub_path.ts";

/** Options of {@linkcode claimTarget} and {@linkcode claimVolume}. */
export interface TargetOptions {
  /** Who asked, for messages: `K8S_SECRET_db`, or `volumeMounts of container "app"`. */
  readonly setting: string;
  /** Name of the Pod's volume. */
  readonly volume: string;
  /** It holds a Secret or token: in memory where possible, and shut to other users. */
  readonly secret: boolean;
  readonly ownership: VolumeOwnership;
  /** Path inside the volume of the one file that the mount path shall be. */
  readonly single?: string;
  /** Side process: somebody else reads, through the folder itself; so the bytes lie in it. @default {false} */
  readonly inPlace?: boolean;
  /** The place may be outside the base. @default {false} */
  readonly anywhere?: boolean;
}

/** A claimed place for a volume's files. */
export interface MountTarget extends SubPathVolume {
  /** The mount path, absolute, as programs open it. */
  readonly path: string;
  /** The bytes lie in a memory file system. */
  readonly inMemory: boolean;
  /**
   * Makes the volume equal to `payload`; true when a new version was published. As {@linkcode AtomicWriter.write}.
   *
   * @throws {KrunError} `NoSpace`, `TargetUnwritable`; the version before stays.
   */
  publish(payload: Payload): boolean;
}

/**
 * Claims `path` (absolute, from `mountPath`) for a volume of files.
 *
 * @throws {KrunError} `TargetInUse`, `TargetConflict`, `PathInvalid`: nothing was touched; `TargetUnwritable`, `NoSpace`: what
 * was made goes when the base is closed.
 */
export function claimTarget(base: BaseFolder, path: string, options: TargetOptions): MountTarget {
  const { setting, volume, single, inPlace = false, anywhere = false } = options;
  return explained(`mount volume "${volume}" at "${path}" for ${setting}`, () => {
    if (single === undefined) {
      return filesIn(base, claimFolder(base, path, { setting, anywhere, owned: ownedFolder(options.ownership) }), {
        ...options,
        path,
      });
    }
    const link = claimLinkPlace(base, path, { setting, anywhere, kind: "link later" });
    // Whoever reads a folder that is shared with krun does not see krun's own: there the volume lies beside its file.
    const beside = join(dirname(link), `.${basename(link)}.krun`);
    const files = inPlace
      ? filesIn(base, claimFolder(base, beside, { setting, anywhere, owned: ownedFolder(options.ownership) }), {
        ...options,
        path,
      })
      : claimVolume(base, options);
    return new SingleFile(base, { path, link, files, single });
  });
}

/**
 * Claims a folder below the state folder for a volume that is mounted by subPath only; its path is that folder.
 *
 * @throws {KrunError} `TargetUnwritable`, `NoSpace`.
 */
export function claimVolume(base: BaseFolder, options: TargetOptions): MountTarget {
  const { setting, volume, ownership } = options;
  return explained(`make volume "${volume}" for ${setting}`, () => {
    const path = base.volumePath(volume);
    const { readers, fsGroup } = ownership;
    if (readers.length > 0 || fsGroup !== undefined) base.letThrough();
    return filesIn(base, { path, identity: base.makeFolder(path, ownedFolder(ownership)) }, { ...options, path });
  });
}

/** What a claimed folder becomes. */
type FilesOptions = TargetOptions & { readonly path: string };

function filesIn(
  base: BaseFolder,
  { path: folder, identity }: Pick<ClaimedFolder, "path" | "identity">,
  { path, volume, ownership, secret, inPlace = false }: FilesOptions,
): MountTarget {
  base.note({ made: "volume", path: folder, identity });
  using opened = Folder.open(folder);
  const inMemory = opened.inMemory();
  const store = secret && !inPlace && !inMemory ? base.memoryStore(volume, { ownership }) : undefined;
  // Who reads beside a side process is known only when the Pod names them.
  const readersKnown = !inPlace || ownership.readers.length > 0 || ownership.fsGroup !== undefined;
  const writer = new AtomicWriter({
    target: folder,
    ...(store === undefined ? {} : { store }),
    ownership,
    secret: secret && readersKnown,
  });
  return {
    path,
    folder,
    store,
    inMemory: inMemory || store !== undefined,
    publish: (payload) => writer.write(payload),
    pin: (version) => writer.pin(version),
    unpin: (version) => writer.unpin(version),
  };
}

/** One file of a volume that lies elsewhere: a link that goes through `..data`, so that it stays fresh. */
class SingleFile implements MountTarget {
  readonly path: string;
  readonly folder: string;
  readonly inMemory: boolean;
  readonly #files: MountTarget;
  readonly #putLink: () => void;

  constructor(base: BaseFolder, { path, link, files, single }: SingleFileOptions) {
    this.path = path;
    this.folder = files.folder;
    this.inMemory = files.inMemory;
    this.#files = files;
    // Relative: the folder may be mounted elsewhere in another container.
    const to = relative(dirname(link), join(files.folder, single));
    this.#putLink = () => placeLink(base, link, to);
  }

  publish(payload: Payload): boolean {
    const published = this.#files.publish(payload);
    explained(`mount at "${this.path}"`, this.#putLink);
    return published;
  }
}

/** What a {@linkcode SingleFile} is made of. */
interface SingleFileOptions {
  readonly path: string;
  /** Where the link stands, its parent free of links. */
  readonly link: string;
  readonly files: MountTarget;
  /** Path inside the volume. */
  readonly single: string;
}
