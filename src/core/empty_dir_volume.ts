/**
 * emptyDir volumes: what the Pod asks for. The folder itself is made by `pod/empty_dir.ts`.
 *
 * @module
 */
import type { V1EmptyDirVolumeSource } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";

/**
 * Whether an emptyDir shall lie in memory. `sizeLimit` has no effect: the kubelet measures and evicts, krun does not.
 *
 * @throws {KrunError} `PodInvalid` for a medium that krun has not, such as `HugePages`.
 */
export function emptyDirInMemory({ medium = "" }: V1EmptyDirVolumeSource, volume: string): boolean {
  if (medium === "" || medium === "Memory") return medium === "Memory";
  throw new KrunError(
    "PodInvalid",
    `Cannot mount volume "${volume}": emptyDir has medium "${medium}"`,
    "leave the medium out, or use Memory",
  );
}
