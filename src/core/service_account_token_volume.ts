/**
 * The `serviceAccountToken` source of a projected volume. Rules: Kubernetes v1.34 pkg/volume/projected (collectData), KEP-1205.
 *
 * @module
 */
import type { V1Pod, V1ServiceAccountTokenProjection } from "@kubernetes/client-node";
import type { TokenRef } from "./cluster.ts";
import type { Payload } from "./payload.ts";
import { cleanPayloadPath } from "./payload_path.ts";
import { tokenFileMode } from "./volume_ownership.ts";
import { DEFAULT_FILE_MODE, type VolumeContext } from "./volume_type.ts";

/** Seconds that the API server fills in. */
const DEFAULT_EXPIRATION_SECONDS = 3600;

/** The token that a source asks for: of the Pod's own service account. */
export function tokenRefOf(source: V1ServiceAccountTokenProjection, pod: V1Pod): TokenRef {
  return {
    namespace: pod.metadata?.namespace ?? "default",
    serviceAccount: pod.spec?.serviceAccountName ?? "default",
    audience: source.audience ?? "",
    expirationSeconds: source.expirationSeconds ?? DEFAULT_EXPIRATION_SECONDS,
  };
}

/** The one file of a token: the JWT without a final newline. @throws {KrunError} `PathInvalid` */
export function tokenFiles(
  source: V1ServiceAccountTokenProjection,
  { pod, inputs, ownership, defaultMode = DEFAULT_FILE_MODE }:
    & VolumeContext
    & { readonly defaultMode: number | undefined },
): Payload {
  const bytes = new TextEncoder().encode(inputs.token(tokenRefOf(source, pod)).token);
  const mode = tokenFileMode(defaultMode, ownership);
  const uid = ownership.fsUser;
  return new Map([[cleanPayloadPath(source.path), { bytes, mode, ...(uid === undefined ? {} : { uid }) }]]);
}
