/**
 * Who owns a volume's files and who may enter its folders. In: a Pod. Out: ids and permission bits.
 *
 * Rules: Kubernetes v1.34 pkg/volume/util/util.go (FsUserFrom) and pkg/volume/volume_linux.go (SetVolumeOwnership). Where krun
 * differs, and why, stands at each function: on a machine shared with other users no mount namespace hides a volume.
 *
 * @module
 */
import type { V1Container, V1EphemeralContainer, V1Pod } from "@kubernetes/client-node";
import type { PayloadFile } from "./payload.ts";

/** What a Pod says about the owner of its volumes' files. */
export interface VolumeOwnership {
  /** The user that every container runs as; absent when one names none or they differ. */
  readonly fsUser?: number;
  /** `securityContext.fsGroup` of the Pod: a supplementary group of every process. */
  readonly fsGroup?: number;
  /** Every user other than root that a container which mounts the volume runs as; sorted, without duplicates. */
  readonly readers: readonly number[];
  /** For `fsUser` alone, whoever else the containers run as. @default {false} */
  readonly isPrivate?: boolean;
}

/** Final mode and owner of a file or folder. */
export interface Owned {
  /** Permission bits, with setgid for a folder of an fsGroup. */
  readonly mode: number;
  /** `undefined`: krun's own user. */
  readonly uid: number | undefined;
  /** `undefined`: the group that the file system gives. */
  readonly gid: number | undefined;
}

type AnyContainer = V1Container | V1EphemeralContainer;

/** Reads the ownership out of a Pod; `readers` are those of one volume, or of all when none is named. */
export function volumeOwnership(pod: V1Pod, volume?: string): VolumeOwnership {
  const spec = pod.spec;
  const containers: AnyContainer[] = [
    ...(spec?.initContainers ?? []),
    ...(spec?.containers ?? []),
    ...(spec?.ephemeralContainers ?? []),
  ];
  const userOf = (c: AnyContainer) => c.securityContext?.runAsUser ?? spec?.securityContext?.runAsUser;
  const users = new Set(containers.map(userOf));
  const [only] = users;
  const mounting = containers.filter((c) => volume === undefined || c.volumeMounts?.some((m) => m.name === volume));
  const named = mounting.map(userOf).filter((uid) => uid !== undefined && uid !== 0) as number[];
  const fsGroup = spec?.securityContext?.fsGroup;
  return {
    ...(users.size === 1 && only !== undefined ? { fsUser: only } : {}),
    ...(fsGroup === undefined ? {} : { fsGroup }),
    readers: [...new Set(named)].sort((a, b) => a - b),
  };
}

/** The ownership of a volume that is for one user alone, as krun's own sidecars have theirs. */
export function privateOwnership(user: number): VolumeOwnership {
  return { fsUser: user, readers: user === 0 ? [] : [user], isPrivate: true };
}

const SETGID = 0o2000;

/** Mode of a file or folder after the walk that the kubelet does for an fsGroup; `writable` for an emptyDir. */
export function fsGroupMode(kind: "file" | "folder", mode: number, { writable = false } = {}): number {
  if (kind === "file") return mode | (writable ? 0o660 : 0o440);
  return mode | (writable ? 0o770 : 0o550) | SETGID;
}

/**
 * Mode of a token's file before the fsGroup: its own, but 0600 when somebody in particular is to read it
 * (pkg/volume/projected, `collectData`).
 */
export function tokenFileMode(defaultMode: number, { fsUser, fsGroup }: VolumeOwnership): number {
  return fsUser === undefined && fsGroup === undefined ? defaultMode : 0o600;
}

/**
 * Final mode and owner of a volume's file.
 *
 * Differs from the kubelet: a file that others may not read belongs to the one user of the containers, if there is one. The
 * kubelet leaves it root's, and a program that is not root cannot read it.
 */
export function ownedFile(file: PayloadFile, ownership: VolumeOwnership): Owned {
  const { fsUser, fsGroup, isPrivate = false } = ownership;
  const mode = file.mode & 0o777;
  const uid = file.uid ?? (mode & 0o004 && !isPrivate ? undefined : fsUser);
  return { mode: fsGroup === undefined ? mode : fsGroupMode("file", mode), uid, gid: fsGroup };
}

/** Final mode and owner of a folder inside a volume: 0755, whatever the umask is. */
export function ownedFolder({ fsGroup }: VolumeOwnership): Owned {
  return { mode: fsGroup === undefined ? 0o755 : fsGroupMode("folder", 0o755), uid: undefined, gid: fsGroup };
}

/** Final mode and owner of an emptyDir: everybody may write, as in a Pod, unless it is for one user. */
export function emptyDirFolder({ fsUser, fsGroup, isPrivate = false }: VolumeOwnership): Owned {
  if (isPrivate) return { mode: 0o700, uid: fsUser, gid: undefined };
  const mode = fsGroup === undefined ? 0o777 : fsGroupMode("folder", 0o777, { writable: true });
  return { mode, uid: undefined, gid: fsGroup };
}

/**
 * Mode and owner of a folder around secret files: only their readers enter.
 *
 * The kubelet has 0755 here, since a container's mount namespace hides the volume from the rest of the machine; krun has no
 * such wall. One user: the folder is theirs. An fsGroup: the group enters. Several users without a group in common: everybody
 * enters, and the modes of the files decide, as in a Pod.
 */
export function secretFolder({ readers, fsGroup }: VolumeOwnership): Owned {
  if (fsGroup !== undefined) {
    return { mode: fsGroupMode("folder", 0o700), uid: readers.length === 1 ? readers[0] : undefined, gid: fsGroup };
  }
  if (readers.length > 1) return { mode: 0o755, uid: undefined, gid: undefined };
  return { mode: 0o700, uid: readers[0], gid: undefined };
}
