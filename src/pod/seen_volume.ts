/**
 * A volume of a Pod that is only looked at. In: its mounts and what it would be made from. Out: the failures of a start.
 *
 * Mirrors {@linkcode MountedVolume}, which makes what is only checked here.
 *
 * @module
 */
import type { V1Pod, V1Volume } from "@kubernetes/client-node";
import { emptyDirInMemory } from "../core/empty_dir_volume.ts";
import type { Needs } from "../core/pod_inputs.ts";
import { basename, dirname, join } from "../core/posix_path.ts";
import { volumeNeeds, volumePayload } from "../core/volume.ts";
import { explained } from "./file_fault.ts";
import { hostPathOf } from "./host_path.ts";
import { realPath } from "./libc_files.ts";
import type { ClaimOptions, MountedVolume } from "./mounted_volume.ts";
import type { PodSources } from "./pod_sources.ts";
import type { SeenBase } from "./seen_base.ts";
import { checkSubPath } from "./sub_path.ts";

/** Options of {@linkcode SeenVolume.claim}; without a base that could be used no place is looked at. */
type SeenOptions = ClaimOptions<{ readonly base: string; readonly seen: SeenBase | undefined }>;

/** A mount of a {@linkcode SeenVolume}. */
type Mount = SeenOptions["mounts"][number];

/** A volume that some container mounts. */
export class SeenVolume implements Pick<MountedVolume, "name" | "needs" | "publish"> {
  readonly name: string;
  readonly needs: Needs;
  /** Final paths of its mounts, known after `claim`. */
  paths: readonly string[] = [];
  readonly #volume: V1Volume;
  readonly #pod: V1Pod;

  /** @throws {KrunError} as `volumeNeeds` */
  constructor(volume: V1Volume, pod: V1Pod) {
    this.name = volume.name;
    this.#volume = volume;
    this.#pod = pod;
    this.needs = volumeNeeds(volume, pod);
  }

  /** Looks at the mount paths. @throws {KrunError} as {@linkcode MountedVolume.claim} */
  claim({ base: { seen }, mounts, ...options }: SeenOptions): void {
    this.paths = mounts.map(({ path }) => path);
    if (seen === undefined) return;
    const first = this.#volume.emptyDir && mounts.find(({ subPath }) => subPath === "");
    for (const mount of mounts) {
      explained(`mount volume "${this.name}" at "${mount.path}" for ${options.setting}`, () => {
        if (this.#volume.hostPath) this.#seeHostPath(seen, mount, options.setting);
        else if (this.#volume.emptyDir) this.#seeEmptyDir(seen, mount, { ...options, isFirst: mount === first });
        else this.#seeFiles(seen, mount, options);
      });
    }
  }

  /** Makes the files and throws them away. @throws {KrunError} as `volumePayload` */
  publish(sources: PodSources): boolean {
    volumePayload(this.#volume, { pod: this.#pod, inputs: sources });
    return false;
  }

  #seeFiles(
    seen: SeenBase,
    { path, subPath }: Mount,
    { setting, live, inPlace, anywhere = false }: Pick<SeenOptions, "setting" | "live" | "inPlace" | "anywhere">,
  ): void {
    if (subPath === "") return seen.takeFolder(path, { setting });
    if (!live) checkSubPath({ subPath, setting });
    seen.takeLink(path, { setting, anywhere, kind: "link later" });
    if (live && inPlace) seen.takeFolder(join(dirname(path), `.${basename(path)}.krun`), { setting, anywhere });
  }

  #seeEmptyDir(
    seen: SeenBase,
    { path, subPath }: Mount,
    { setting, isFirst }: Pick<SeenOptions, "setting"> & { isFirst: boolean },
  ): void {
    const memory = emptyDirInMemory(this.#volume.emptyDir ?? {}, this.name);
    if (isFirst && !(memory && realPath(path) === undefined)) return seen.takeFolder(path, { setting });
    checkSubPath({ subPath, setting });
    seen.takeLink(path, { setting, kind: isFirst ? "link" : "link later" });
  }

  #seeHostPath(seen: SeenBase, { path, subPath }: Mount, setting: string): void {
    const to = hostPathOf(path, { volume: this.name, hostPath: this.#volume.hostPath!, subPath });
    if (realPath(path) !== to) seen.takeLink(path, { setting, kind: "link" });
  }
}
