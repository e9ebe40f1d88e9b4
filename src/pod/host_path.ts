/**
 * hostPath volumes. In: a path of this machine. Out: a symlink to it at the mount path.
 *
 * @module
 */
import type { V1HostPathVolumeSource } from "@kubernetes/client-node";
import { KrunError } from "../core/errors.ts";
import { checkHostPath } from "../core/host_path_volume.ts";
import { basename, dirname, join } from "../core/posix_path.ts";
import type { BaseFolder } from "./base_folder.ts";
import { claimLinkPlace, placeLink } from "./claimed_folder.ts";
import { explained } from "./file_fault.ts";
import { Folder } from "./folder.ts";
import { realPath } from "./libc_files.ts";

/** Options of {@linkcode claimHostPath}. */
export interface HostPathOptions {
  /** Who asked, for messages. */
  readonly setting: string;
  /** Name of the Pod's volume. */
  readonly volume: string;
  readonly hostPath: V1HostPathVolumeSource;
  /** Relative; empty: the path itself. */
  readonly subPath: string;
}

/**
 * Mounts a path of this machine: a link at `path`. Where the two are the same, there is nothing to do.
 *
 * @throws {KrunError} `PodInvalid` for a path that is not what its type says, `TargetInUse`, `TargetConflict`, `PathInvalid`,
 * `TargetUnwritable`, `NoSpace`.
 */
export function claimHostPath(
  base: BaseFolder,
  path: string,
  { setting, volume, hostPath, subPath }: HostPathOptions,
): void {
  explained(`mount volume "${volume}" at "${path}"`, () => {
    const to = hostPathOf(path, { volume, hostPath, subPath });
    if (realPath(path) === to) return;
    placeLink(base, claimLinkPlace(base, path, { setting, kind: "link" }), to);
  });
}

/**
 * The path of this machine that a hostPath mount shows, free of links. Touches nothing.
 *
 * @throws {KrunError} `PodInvalid` for a path that is not what its type says, `PathInvalid`; {@linkcode FileError}
 */
export function hostPathOf(path: string, { volume, hostPath, subPath }: Omit<HostPathOptions, "setting">): string {
  const real = realPath(hostPath.path);
  checkHostPath(hostPath, { volume, found: kindOf(real) });
  const to = realPath(join(hostPath.path, subPath));
  if (to !== undefined && (to === real || to.startsWith(real === "/" ? "/" : `${real}/`))) return to;
  throw new KrunError(
    "PathInvalid",
    `Cannot mount subPath "${subPath}" of hostPath "${hostPath.path}" at "${path}": it is not there, or leads out of it`,
    "name a subPath that exists inside the hostPath",
  );
}

function kindOf(real: string | undefined) {
  if (real === undefined) return undefined;
  using parent = Folder.open(dirname(real));
  return real === "/" ? "folder" : parent.stat(basename(real))?.kind;
}
