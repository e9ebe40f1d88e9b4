/**
 * Publishes a volume's files so that a reader sees all old or all new. In: files. Out: a folder that equals them.
 *
 * @module
 */
import type { Payload } from "../core/payload.ts";
import { ownedFolder, secretFolder, type VolumeOwnership } from "../core/volume_ownership.ts";
import { NEXT_LINK, planVolume, publishes, versionName, type VolumeOp } from "../core/volume_plan.ts";
import { explained } from "./file_fault.ts";
import { effectiveUser, FileError } from "./libc_files.ts";
import { VolumeFolder } from "./volume_folder.ts";

/** Options of {@linkcode AtomicWriter}. */
export interface AtomicWriterOptions {
  /** Absolute path, free of symlinks, of the folder that readers open; it exists. */
  readonly target: string;
  /** Absolute path, free of symlinks, of the folder in which the versions lie; it exists. @default {target} */
  readonly store?: string;
  readonly ownership: VolumeOwnership;
  /** Other users of the machine must not read the files, whatever the files' modes say. @default {false} */
  readonly secret?: boolean;
  /** Milliseconds since the epoch, for the names of versions. @default {Date.now} */
  readonly now?: () => number;
}

/**
 * Writes the versions of one volume. What is on disk, and which step makes it, is drawn at `planVolume`.
 *
 * What readers can rely on: below one resolved `..data` all files are of one version; two opens one after the other may see
 * two, so resolve `..data` once and open below it. A path that is being resolved at the instant of a swap may lead nowhere, as
 * in a Pod: the old version is removed at once; try again. An open file keeps its content. To be told of a change, watch the
 * folder for `..data` being moved in. Only one writer at a time, and names that begin with `..` are reserved.
 */
export class AtomicWriter {
  readonly #options: AtomicWriterOptions;
  readonly #pinned = new Map<string, number>();

  constructor(options: AtomicWriterOptions) {
    this.#options = options;
  }

  /**
   * Makes the volume equal to `payload`: content, mode and owner. Synchronous. True when a new version was published; false
   * when the one in force was equal, its links put right if somebody removed them.
   *
   * Survives a kill at any moment: what is then left is the whole old or the whole new version, and the next call removes the
   * rest. Needs room for both versions at once.
   *
   * @throws {KrunError} `NoSpace`, `TargetUnwritable`; the version before stays in force and the new one is gone.
   */
  write(payload: Payload): boolean {
    const { target, store, ownership, secret = false, now = Date.now } = this.#options;
    return explained(`write volume "${target}"`, () => {
      using volume = new VolumeFolder(target, store);
      const stamp = versionName(new Date(now()).toISOString(), crypto.randomUUID().slice(0, 8));
      const plan = planVolume(volume.read(), payload, {
        stamp,
        ownership,
        folder: secret ? secretFolder(ownership) : ownedFolder(ownership),
        self: { uid: effectiveUser() },
        ...(store === undefined ? {} : { store }),
        pinned: new Set(this.#pinned.keys()),
      });
      carryOut(volume, plan, stamp);
      return publishes(plan);
    });
  }

  /** Keeps a version's folder although a newer one is in force; each call needs its {@linkcode AtomicWriter.unpin}. */
  pin(version: string): void {
    this.#pinned.set(version, (this.#pinned.get(version) ?? 0) + 1);
  }

  /** Lets a version go; the next write removes its folder. */
  unpin(version: string): void {
    const count = (this.#pinned.get(version) ?? 0) - 1;
    if (count > 0) this.#pinned.set(version, count);
    else this.#pinned.delete(version);
  }
}

function carryOut(volume: VolumeFolder, plan: readonly VolumeOp[], stamp: string): void {
  let swapped = false;
  try {
    for (const step of plan) {
      applyStep(volume, step);
      swapped ||= step.op === "rename";
    }
  } catch (error) {
    if (!swapped) undo(volume, stamp);
    throw error;
  }
}

function applyStep(volume: VolumeFolder, step: VolumeOp): void {
  if (step.op === "remove-version") attempt(() => volume.apply(step));
  else volume.apply(step);
}

/** Removes what a failed write has made so far. */
function undo(volume: VolumeFolder, stamp: string): void {
  attempt(() => volume.apply({ op: "unlink", name: NEXT_LINK }));
  attempt(() => volume.apply({ op: "remove-version", path: stamp }));
}

/** For folders that are no longer of use: what cannot be removed now is a stray that the next write tries again. */
function attempt(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
  }
}
