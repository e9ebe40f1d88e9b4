/**
 * Volumes made of files. In: a volume of a Pod and what was found for it. Out: what it needs, and its files.
 *
 * A new kind of volume is one file and one row of the table below.
 *
 * @module
 */
import type { V1Pod, V1Volume } from "@kubernetes/client-node";
import { configMapVolume } from "./config_map_volume.ts";
import { downwardApiVolume } from "./downward_api_volume.ts";
import { KrunError } from "./errors.ts";
import type { Payload } from "./payload.ts";
import type { Needs, PodInputs } from "./pod_inputs.ts";
import { projectedVolume } from "./projected_volume.ts";
import { secretVolume } from "./secret_volume.ts";
import { type VolumeOwnership, volumeOwnership } from "./volume_ownership.ts";
import { NO_NEEDS, type VolumeType } from "./volume_type.ts";

export { volumeOwnership };

type VolumeField = Exclude<keyof V1Volume, "name">;

const FILE_VOLUMES: { readonly [Field in VolumeField]?: VolumeType<NonNullable<V1Volume[Field]>> } = {
  secret: secretVolume,
  configMap: configMapVolume,
  projected: projectedVolume,
  downwardAPI: downwardApiVolume,
};

/** Kinds of volumes that krun has, but that are not made of files that it writes. */
const FOLDER_VOLUMES: readonly string[] = ["emptyDir", "hostPath"] satisfies VolumeField[];

/**
 * Objects and tokens that a volume is made of; nothing for an emptyDir or hostPath.
 *
 * @throws {KrunError} `PodInvalid` for a kind of volume that krun has not.
 */
export function volumeNeeds(volume: V1Volume, pod: V1Pod): Needs {
  const found = fileVolume(volume);
  return found === undefined ? NO_NEEDS : found.type.needs(found.source, pod);
}

/** Options of {@linkcode volumePayload}. */
export interface VolumePayloadOptions {
  readonly pod: V1Pod;
  readonly inputs: PodInputs;
  /** @default {what the Pod says} */
  readonly ownership?: VolumeOwnership;
}

/**
 * The files of a volume; none for an emptyDir or hostPath. All of it or an error: nothing is to be written after one.
 *
 * @throws {KrunError} `ObjectNotFound`, `KeyNotFound`, `PathInvalid`, `PodInvalid`, `ManifestInvalid`.
 */
export function volumePayload(volume: V1Volume, { pod, inputs, ...options }: VolumePayloadOptions): Payload {
  const found = fileVolume(volume);
  if (found === undefined) return new Map();
  const { ownership = volumeOwnership(pod) } = options;
  const payload = found.type.payload(found.source, { pod, inputs, volume: volume.name, ownership });
  checkNesting(volume.name, payload);
  return payload;
}

function fileVolume(volume: V1Volume): { type: VolumeType<unknown>; source: unknown } | undefined {
  const [field, source] = Object.entries(volume).find(([key, value]) => key !== "name" && value != null) ?? [];
  // The API server makes an emptyDir of a volume without a source (pkg/apis/core/v1/defaults.go).
  if (field === undefined || FOLDER_VOLUMES.includes(field)) return undefined;
  const type = FILE_VOLUMES[field as VolumeField] as VolumeType<unknown> | undefined;
  if (type !== undefined) return { type, source };
  throw new KrunError(
    "PodInvalid",
    `Cannot mount volume "${volume.name}": krun has no volumes of kind "${field}"`,
    `use one of ${[...Object.keys(FILE_VOLUMES), ...FOLDER_VOLUMES].join(", ")}`,
  );
}

/** One path cannot be a file and hold another; the kubelet notices that while writing and leaves a half folder behind. */
function checkNesting(volume: string, payload: Payload): void {
  for (const path of payload.keys()) {
    for (let at = path.indexOf("/"); at !== -1; at = path.indexOf("/", at + 1)) {
      if (!payload.has(path.slice(0, at))) continue;
      throw new KrunError(
        "PathInvalid",
        `Cannot mount volume "${volume}": "${path.slice(0, at)}" is a file and a folder at once`,
        "give one of the two items another path",
      );
    }
  }
}
