/**
 * One volume of a Pod on this machine. In: its mounts and, again and again, what it is made from. Out: files.
 *
 * @module
 */
import type { V1Pod, V1Volume } from "@kubernetes/client-node";
import type { ObjectRef } from "../core/cluster.ts";
import { emptyDirInMemory } from "../core/empty_dir_volume.ts";
import type { KrunError } from "../core/errors.ts";
import type { VolumeStatus } from "../core/mount_status.ts";
import type { Needs } from "../core/pod_inputs.ts";
import { volumeNeeds, volumePayload } from "../core/volume.ts";
import type { DistinctMount } from "../core/volume_mounts.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import { privateOwnership, type VolumeOwnership, volumeOwnership } from "../core/volume_ownership.ts";
import type { BaseFolder } from "./base_folder.ts";
import {
  claimEmptyDir,
  claimHostPath,
  claimSubPath,
  claimTarget,
  claimVolume,
  type EmptyDir,
  type MountTarget,
  type SubPathMount,
} from "./mount_target.ts";
import type { PodSources } from "./pod_sources.ts";

/** Options of {@linkcode MountedVolume.claim}. */
export interface ClaimOptions<Base = BaseFolder> {
  /** Below which it is mounted. */
  readonly base: Base;
  /** Where; final paths. */
  readonly mounts: readonly DistinctMount[];
  /** Who asked, for messages. */
  readonly setting: string;
  /** The `subPath` of its mount is a file that stays fresh, unlike a Pod's subPath. */
  readonly live: boolean;
  /** The bytes lie in the mount path itself, for a reader who sees nothing else. */
  readonly inPlace: boolean;
  /** Its place may be outside the base. @default {false} */
  readonly anywhere?: boolean;
}

/** A volume that some container mounts. Where it is, is decided by one call of `claim`. */
export class MountedVolume {
  /** Its name in the Pod. */
  readonly name: string;
  /** What it is made from. */
  readonly needs: Needs;
  /** Why the files are older than what they are made from. */
  error: KrunError | undefined;
  /** The object whose newest version is not on disk yet. */
  behind: ObjectRef | undefined;
  /** Nothing else is made from its one object, so that the object's data need not be kept once it is on disk. */
  soleUser = false;
  readonly #volume: V1Volume;
  readonly #pod: V1Pod;
  readonly #ownership: VolumeOwnership;
  readonly #targets: MountTarget[] = [];
  readonly #subPaths: { readonly mount: SubPathMount; readonly containers: readonly string[] }[] = [];
  #paths: readonly string[] = [];
  #keys = 0;
  #lastChangeMs = 0;

  /** Touches nothing. @throws {KrunError} as `volumeNeeds` */
  constructor(volume: V1Volume, { pod, volumeUsers }: Pick<PlannedPod, "pod" | "volumeUsers">) {
    this.name = volume.name;
    this.#volume = volume;
    this.#pod = pod;
    const user = volumeUsers.get(volume.name);
    this.#ownership = user === undefined ? volumeOwnership(pod) : privateOwnership(user);
    this.needs = volumeNeeds(volume, pod);
  }

  /** Takes the mount paths. Call it once. @throws {KrunError} as `claimTarget` */
  claim(options: ClaimOptions): void {
    this.#paths = options.mounts.map(({ path }) => path);
    if (this.#volume.hostPath) this.#claimHostPath(options);
    else if (this.#volume.emptyDir) this.#claimEmptyDir(options);
    else this.#claimFiles(options);
  }

  /**
   * Makes the files equal to what they should be; true when they became new. Nothing is touched unless all of it is there.
   *
   * @throws {KrunError} as `volumePayload` and {@linkcode MountTarget.publish}; the files before stay.
   */
  publish(sources: PodSources, nowMs: number): boolean {
    if (!this.#hasFiles) return false;
    const payload = volumePayload(this.#volume, { pod: this.#pod, inputs: sources, ownership: this.#ownership });
    const published = this.#targets.filter((target) => target.publish(payload));
    this.#keys = payload.size;
    if (published.length > 0) this.#lastChangeMs = nowMs;
    if (this.soleUser) { for (const { kind, name } of this.needs.objects) sources.release(kind, name); }
    return published.length > 0;
  }

  /** Points the subPath mounts of a container at what the volume holds now. @throws {KrunError} as `SubPathMount.resolve` */
  resolveSubPaths(container: string): void {
    for (const { mount, containers } of this.#subPaths) if (containers.includes(container)) mount.resolve();
  }

  /** What is mounted where. */
  status(): VolumeStatus {
    return {
      volume: this.name,
      source: Object.keys(this.#volume).find((key) => key !== "name") ?? "emptyDir",
      paths: this.#paths,
      objects: this.needs.objects.map(({ kind, name }) => ({ kind, name })),
      tokens: this.needs.tokens.map(({ serviceAccount, audience }) => ({ serviceAccount, audience })),
      keys: this.#keys,
      lastChangeMs: this.#lastChangeMs,
      ...(this.error && { error: this.error.message }),
    };
  }

  /** Made of files that krun writes: a Secret, ConfigMap, projected or downwardAPI volume. */
  get #hasFiles(): boolean {
    return this.#volume.emptyDir === undefined && this.#volume.hostPath === undefined;
  }

  #claimFiles({ base, mounts, setting, live, inPlace, anywhere = false }: ClaimOptions): void {
    const secret = this.needs.tokens.length > 0 || this.needs.objects.some(({ kind }) => kind === "Secret");
    const options = { setting, volume: this.name, secret, ownership: this.#ownership, inPlace, anywhere };
    for (const { path, subPath } of mounts) {
      if (subPath === "") this.#targets.push(claimTarget(base, path, options));
      else if (live) this.#targets.push(claimTarget(base, path, { ...options, single: subPath }));
    }
    if (live || mounts.every(({ subPath }) => subPath === "")) return;
    if (this.#targets.length === 0) this.#targets.push(claimVolume(base, options));
    this.#claimInside(this.#targets[0]!, mounts.filter(({ subPath }) => subPath !== ""), { base, setting });
  }

  #claimEmptyDir({ base, mounts, setting }: ClaimOptions): void {
    const memory = emptyDirInMemory(this.#volume.emptyDir ?? {}, this.name);
    const first = mounts.find(({ subPath }) => subPath === "");
    const ownership = this.#ownership;
    const folder = claimEmptyDir(base, first?.path, { setting, volume: this.name, memory, ownership });
    this.#claimInside(folder, mounts.filter((mount) => mount !== first), { base, setting });
  }

  #claimHostPath({ base, mounts, setting }: ClaimOptions): void {
    for (const { path, subPath } of mounts) {
      claimHostPath(base, path, { setting, volume: this.name, hostPath: this.#volume.hostPath!, subPath });
    }
  }

  #claimInside(
    volume: MountTarget | EmptyDir,
    mounts: readonly DistinctMount[],
    { base, setting }: Pick<ClaimOptions, "base" | "setting">,
  ): void {
    for (const { path, subPath, containers } of mounts) {
      this.#subPaths.push({ mount: claimSubPath(base, path, { setting, volume, subPath }), containers });
    }
  }
}
