/**
 * Volumes and projected sources made of a Secret.
 *
 * @module
 */
import type { V1SecretProjection, V1SecretVolumeSource } from "@kubernetes/client-node";
import { objectFiles, objectNeeds, type ObjectSelection } from "./object_files.ts";
import type { VolumeType } from "./volume_type.ts";

/** A `secret` volume. */
export const secretVolume: VolumeType<V1SecretVolumeSource> = {
  needs: (source) => objectNeeds(ofVolume(source)),
  payload: (source, context) => objectFiles(ofVolume(source), context),
};

function ofVolume({ secretName, items, defaultMode, optional }: V1SecretVolumeSource): ObjectSelection {
  return { kind: "Secret", name: secretName ?? "", items, defaultMode, optional: optional ?? false };
}

/** What a `secret` source of a projected volume takes. */
export function secretSelection(source: V1SecretProjection, defaultMode: number | undefined): ObjectSelection {
  return {
    kind: "Secret",
    name: source.name ?? "",
    items: source.items,
    defaultMode,
    optional: source.optional ?? false,
  };
}
