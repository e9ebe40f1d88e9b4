/**
 * How a volume's folder goes from what stands there to what is wanted. In: the folder as found, the files wanted. Out: a list
 * of single steps, which `pod/atomic_writer.ts` carries out.
 *
 * Rules: Kubernetes v1.34 pkg/volume/util/atomic_writer.go, without its three faults: a change of mode or owner is published
 * too, a left-over `..data_tmp` is removed, and so is the folder of a version that never came to be.
 *
 * @module
 */
import type { Payload, PayloadFile } from "./payload.ts";
import { type Owned, ownedFile, ownedFolder, type VolumeOwnership } from "./volume_ownership.ts";

/** The link that points at the version in force. */
export const DATA_LINK = "..data";
/** Its successor, for the moment before the rename. */
export const NEXT_LINK = "..data_tmp";

/** A file or folder as found on disk. */
export interface FoundEntry {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** A file's content; `undefined` for a folder. */
  readonly bytes?: Uint8Array;
}

/** A version as found on disk. */
export interface FoundVersion {
  /** Name of its folder in the store. */
  readonly name: string;
  readonly folder: FoundEntry;
  /** Relative path → what is there; something that is neither file nor folder is left out. */
  readonly entries: ReadonlyMap<string, FoundEntry>;
}

/** A volume as found on disk. */
export interface VolumeState {
  /** Every name in the target → the text of a link, `undefined` for anything else. */
  readonly names: ReadonlyMap<string, string | undefined>;
  /** Names of all version folders in the store. */
  readonly versions: readonly string[];
  /** The version that {@linkcode DATA_LINK} points at; `undefined`: none, or not one in the store. */
  readonly current: FoundVersion | undefined;
}

/** Options of {@linkcode planVolume}. */
export interface VolumePlanOptions {
  /** Name of the new version's folder, from {@linkcode versionName}; not one that is there yet. */
  readonly stamp: string;
  readonly ownership: VolumeOwnership;
  /** Mode and owner of a version's folder. */
  readonly folder: Owned;
  /** Who owns what `Owned.uid` leaves open: krun's own user. */
  readonly self: { readonly uid: number };
  /** Absolute path of the store, when it is not the target itself. */
  readonly store?: string;
  /** Versions that must stay although they are old: a subPath mount points into them. */
  readonly pinned?: ReadonlySet<string>;
}

/** One step. `path` is below the store, `name` a name in the target. Folders are made 0700, then owned when they are full. */
export type VolumeOp =
  | { readonly op: "remove-version"; readonly path: string }
  | { readonly op: "make-folder"; readonly path: string }
  | { readonly op: "write-file"; readonly path: string; readonly bytes: Uint8Array; readonly owned: Owned }
  | { readonly op: "own-folder"; readonly path: string; readonly owned: Owned }
  | { readonly op: "link"; readonly name: string; readonly to: string; readonly gid: number | undefined }
  | { readonly op: "rename"; readonly from: string; readonly to: string }
  | { readonly op: "unlink"; readonly name: string };

/**
 * Name of a version's folder: a time in UTC as RFC 3339 (`2031-05-06T07:08:09.123Z`), and letters or digits that make it unique.
 * The `k` tells it from the kubelet's, which ends in a number.
 */
export function versionName(time: string, unique: string): string {
  const [seconds = ""] = time.split(/[.Z]/);
  return `..${seconds.replace(/[-T:]/g, "_")}.k${unique}`;
}

/** Whether a name in a volume can only be a version's folder. */
export function isVersionName(name: string): boolean {
  return /^\.\.\d{4,6}(_\d\d){5}\.[0-9a-z]+$/.test(name);
}

/** Whether a name can only be that of a version which krun has written, not the kubelet. */
export function isOwnVersionName(name: string): boolean {
  return isVersionName(name) && /\.k[0-9a-z]*$/.test(name);
}

/** Text of the link at a visible name. */
export function visibleLink(name: string): string {
  return `${DATA_LINK}/${name}`;
}

/**
 * Plans how a volume's folder goes from what stands there to `wanted`, so that a reader sees all old or all new.
 *
 *   password -> ..data/password     what the app opens; never changes
 *   ..data   -> ..2031_05_06.1/     the one link that moves
 *
 * Order: remove strays of a crashed run, write the new folder, link `..data_tmp`, rename it over `..data`,
 * link new names, unlink gone ones, remove the old folder. Content, mode and owner all count as change; without a change the
 * middle is left out and only the visible names are put right. A name that something else stands at is left alone.
 */
export function planVolume(found: VolumeState, wanted: Payload, options: VolumePlanOptions): VolumeOp[] {
  const { store, stamp, ownership, pinned = new Set() } = options;
  const { current } = found;
  const kept = (name: string) => pinned.has(name);
  const strays = found.versions.filter((name) => name !== current?.name && !kept(name));
  const tidy: VolumeOp[] = [
    ...found.names.has(NEXT_LINK) ? [{ op: "unlink", name: NEXT_LINK } as const] : [],
    ...strays.map((path) => ({ op: "remove-version", path }) as const),
  ];
  const names = planNames(found, wanted, ownership);
  if (current !== undefined && isCurrent(current, wanted, options)) return [...tidy, ...names];
  const to = store === undefined ? stamp : `${store}/${stamp}`;
  return [
    ...tidy,
    ...planVersion(wanted, options),
    { op: "link", name: NEXT_LINK, to, gid: ownership.fsGroup },
    { op: "rename", from: NEXT_LINK, to: DATA_LINK },
    ...names,
    ...current !== undefined && !kept(current.name) ? [{ op: "remove-version", path: current.name } as const] : [],
  ];
}

/** True when carrying out the plan moves {@linkcode DATA_LINK}. */
export function publishes(plan: readonly VolumeOp[]): boolean {
  return plan.some(({ op }) => op === "rename");
}

function planVersion(wanted: Payload, { stamp, ownership, folder }: VolumePlanOptions): VolumeOp[] {
  const inner = foldersOf(wanted);
  return [
    { op: "make-folder", path: stamp },
    ...inner.map((path): VolumeOp => ({ op: "make-folder", path: `${stamp}/${path}` })),
    ...[...wanted].map(([path, file]): VolumeOp => ({
      op: "write-file",
      path: `${stamp}/${path}`,
      bytes: file.bytes,
      owned: ownedFile(file, ownership),
    })),
    // From the inside out: once a folder belongs to another user, krun no longer writes in it.
    ...inner.toReversed().map((path): VolumeOp => ({
      op: "own-folder",
      path: `${stamp}/${path}`,
      owned: ownedFolder(ownership),
    })),
    { op: "own-folder", path: stamp, owned: folder },
  ];
}

/** Links for names that have none, after the swap; unlinks names that are gone. */
function planNames(found: VolumeState, wanted: Payload, { fsGroup }: VolumeOwnership): VolumeOp[] {
  const visible = new Set([...wanted.keys()].map((path) => path.split("/")[0]!));
  const missing = [...visible].filter((name) => !found.names.has(name)).sort();
  const gone = [...found.names].filter(([name, to]) => to === visibleLink(name) && !visible.has(name)).map(([n]) => n);
  return [
    ...missing.map((name): VolumeOp => ({ op: "link", name, to: visibleLink(name), gid: fsGroup })),
    ...gone.sort().map((name): VolumeOp => ({ op: "unlink", name })),
  ];
}

function isCurrent(current: FoundVersion, wanted: Payload, { ownership, folder, self }: VolumePlanOptions): boolean {
  const inner = foldersOf(wanted);
  if (current.entries.size !== wanted.size + inner.length) return false;
  const fits = (entry: FoundEntry | undefined, owned: Owned) =>
    entry !== undefined && entry.mode === owned.mode && entry.uid === (owned.uid ?? self.uid) &&
    (owned.gid === undefined || entry.gid === owned.gid);
  return fits(current.folder, folder) &&
    inner.every((path) => fits(current.entries.get(path), ownedFolder(ownership))) &&
    [...wanted].every(([path, file]) => {
      const entry = current.entries.get(path);
      return fits(entry, ownedFile(file, ownership)) && sameBytes(entry?.bytes, file);
    });
}

function sameBytes(found: Uint8Array | undefined, { bytes }: PayloadFile): boolean {
  return found !== undefined && found.length === bytes.length && found.every((byte, at) => byte === bytes[at]);
}

/** Every folder inside a payload, parents before children. */
export function foldersOf(payload: Payload): string[] {
  const folders = new Set<string>();
  for (const path of payload.keys()) {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) folders.add(path.slice(0, at));
  }
  return [...folders].sort();
}
