/**
 * Volumes and projected sources made of a ConfigMap.
 *
 * @module
 */
import type { V1ConfigMapProjection, V1ConfigMapVolumeSource } from "@kubernetes/client-node";
import { objectFiles, objectNeeds, type ObjectSelection } from "./object_files.ts";
import type { VolumeType } from "./volume_type.ts";

/** A `configMap` volume. */
export const configMapVolume: VolumeType<V1ConfigMapVolumeSource> = {
  needs: (source) => objectNeeds(configMapSelection(source, source.defaultMode)),
  payload: (source, context) => objectFiles(configMapSelection(source, source.defaultMode), context),
};

/** What a `configMap` volume, or such a source of a projected one, takes. */
export function configMapSelection(
  source: V1ConfigMapProjection | V1ConfigMapVolumeSource,
  defaultMode: number | undefined,
): ObjectSelection {
  return {
    kind: "ConfigMap",
    name: source.name ?? "",
    items: source.items,
    defaultMode,
    optional: source.optional ?? false,
  };
}
