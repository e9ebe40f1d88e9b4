/**
 * A mount inside the folder of another one takes the name of a key there, as in a Pod, where nobody is told.
 *
 * @module
 */
import type { Logger } from "../core/log.ts";
import type { VolumeStatus } from "../core/mount_status.ts";
import { basename, dirname, join } from "../core/posix_path.ts";
import { DATA_LINK } from "../core/volume_plan.ts";
import { realPath } from "./libc_files.ts";

/** Options of {@linkcode warnOfHiddenKeys}. */
export interface HiddenKeysOptions {
  readonly log: Logger;
  /** Volume → who asked for it. */
  readonly origins: ReadonlyMap<string, string>;
}

/** Warns of every key of a published volume at whose name something else is mounted. */
export function warnOfHiddenKeys(volumes: readonly VolumeStatus[], { log, origins }: HiddenKeysOptions): void {
  const mounted = new Map(volumes.flatMap(({ volume, paths }) => paths.map((path) => [path, volume] as const)));
  const origin = (volume: string) => origins.get(volume) ?? volume;
  for (const [path, volume] of mounted) {
    for (let inner = path; inner !== dirname(inner); inner = dirname(inner)) {
      const outer = mounted.get(dirname(inner));
      if (outer === undefined || realPath(join(dirname(inner), DATA_LINK, basename(inner))) === undefined) continue;
      log.warn("a mount hides a key", { path: inner, of: origin(outer), mount: origin(volume) });
    }
  }
}
