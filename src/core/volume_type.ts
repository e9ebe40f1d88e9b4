/**
 * What every kind of volume that is made of files offers. In: a volume's source and what was found for it. Out: files.
 *
 * @module
 */
import type { V1Pod } from "@kubernetes/client-node";
import type { Payload } from "./payload.ts";
import type { Needs, PodInputs } from "./pod_inputs.ts";
import type { VolumeOwnership } from "./volume_ownership.ts";

/** Where a volume stands: the Pod, the volume's name for messages, and what was found. */
export interface VolumeContext {
  readonly pod: V1Pod;
  /** Name of the volume. */
  readonly volume: string;
  readonly inputs: PodInputs;
  readonly ownership: VolumeOwnership;
}

/** One kind of volume, or one source of a projected volume. */
export interface VolumeType<Source> {
  /** Objects and tokens that its files are made of. */
  needs(source: Source, pod: V1Pod): Needs;
  /**
   * Its files. A pure function of its arguments.
   *
   * @throws {KrunError} `ObjectNotFound`, `KeyNotFound`, `PathInvalid`, `PodInvalid`, `ManifestInvalid`.
   */
  payload(source: Source, context: VolumeContext): Payload;
}

/** Mode of files of which neither the item nor the volume says one: the API server's default. */
export const DEFAULT_FILE_MODE = 0o644;

/** Needs nothing. */
export const NO_NEEDS: Needs = { objects: [], tokens: [] };
