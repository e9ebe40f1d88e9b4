/**
 * Volumes and projected sources made of the Pod's own fields. Rules: Kubernetes v1.34 pkg/volume/downwardapi (CollectData).
 *
 * @module
 */
import type { V1DownwardAPIVolumeFile, V1DownwardAPIVolumeSource } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";
import { volumeFieldValue } from "./field_path.ts";
import type { Payload, PayloadFile } from "./payload.ts";
import { cleanPayloadPath } from "./payload_path.ts";
import { resourceFieldValue } from "./resource_field.ts";
import { DEFAULT_FILE_MODE, NO_NEEDS, type VolumeContext, type VolumeType } from "./volume_type.ts";

/** A `downwardAPI` volume. */
export const downwardApiVolume: VolumeType<V1DownwardAPIVolumeSource> = {
  needs: () => NO_NEEDS,
  payload: (source, context) => downwardApiFiles(source.items ?? [], { ...context, defaultMode: source.defaultMode }),
};

/**
 * Files of downwardAPI items.
 *
 * @throws {KrunError} `PodInvalid` for a field that a file cannot show, `PathInvalid`.
 */
export function downwardApiFiles(
  items: readonly V1DownwardAPIVolumeFile[],
  { defaultMode = DEFAULT_FILE_MODE, ...context }: VolumeContext & { readonly defaultMode: number | undefined },
): Payload {
  const encoder = new TextEncoder();
  const files = new Map<string, PayloadFile>();
  for (const item of items) {
    const bytes = encoder.encode(fieldText(item, context));
    files.set(cleanPayloadPath(item.path), { bytes, mode: item.mode ?? defaultMode });
  }
  return files;
}

function fieldText({ path, fieldRef, resourceFieldRef }: V1DownwardAPIVolumeFile, context: VolumeContext): string {
  const { pod, volume, inputs } = context;
  if (fieldRef !== undefined) return volumeFieldValue(fieldRef.fieldPath, pod);
  if (resourceFieldRef !== undefined) {
    return resourceFieldValue(resourceFieldRef, { pod, node: inputs.node, place: "volume" });
  }
  throw new KrunError(
    "PodInvalid",
    `Cannot mount volume "${volume}" with file "${path}": it has neither fieldRef nor resourceFieldRef`,
    "give the item one of the two",
  );
}
