/**
 * Which mount has which place, so that no two have the same or stand in each other's way. In: paths and who asks. Out: a refusal
 * of the second.
 *
 * @module
 */
import { KrunError } from "../core/errors.ts";
import { dirname } from "../core/posix_path.ts";

/**
 * What stands at the place of a mount: a folder, in which there may be further mounts; a link that is put there at once; or
 * `link later`, one that is put there when its volume is filled, so that nothing can be mounted below it.
 */
export type ClaimKind = "folder" | "link" | "link later";

/** The places that one run has given away. */
export class Claims {
  readonly #settings = new Map<string, string>();
  readonly #laterLinks = new Set<string>();
  /** A mount below each folder that has one. */
  readonly #below = new Map<string, string>();

  /** Takes a place for the mount that `setting` asks for. @throws as {@linkcode Claims.checkFree} */
  claim(path: string, setting: string, kind: ClaimKind): void {
    this.checkFree(path, setting, kind);
    this.#settings.set(path, setting);
    if (kind === "link later") this.#laterLinks.add(path);
    for (const above of foldersAbove(path)) this.#below.set(above, path);
  }

  /**
   * Makes sure that a place is free for such a mount.
   *
   * @throws {KrunError} `TargetConflict` when another mount has it, has a link above it or, where this is to be a link, is below.
   */
  checkFree(path: string, setting: string, kind: ClaimKind): void {
    const refuse = (taken: string, state: string) => {
      throw conflict(path, { setting, other: this.#settings.get(taken)!, state });
    };
    if (this.#settings.has(path)) refuse(path, "is mounted there already");
    const link = foldersAbove(path).find((above) => this.#laterLinks.has(above));
    if (link !== undefined) refuse(link, `mounts one file or a subPath at "${link}", in which there can be no mount`);
    const below = kind === "folder" ? undefined : this.#below.get(path);
    if (below !== undefined) refuse(below, `is mounted in it, at "${below}"`);
  }
}

function foldersAbove(path: string): string[] {
  const above = dirname(path);
  return above === "/" ? [] : [above, ...foldersAbove(above)];
}

function conflict(
  path: string,
  { setting, other, state }: { setting: string; other: string; state: string },
): KrunError {
  return new KrunError(
    "TargetConflict",
    `Cannot mount at "${path}" for ${setting}: ${other === setting ? "it" : other} ${state}`,
    `give ${other === setting ? "one of the two mounts" : `${setting} or ${other}`} another path`,
  );
}
