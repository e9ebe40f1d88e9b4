/**
 * hostPath volumes: whether what stands at the path is what the Pod asks for. Rules: Kubernetes v1.34 pkg/volume/hostpath.
 *
 * @module
 */
import type { V1HostPathVolumeSource } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";

/** What stands at a path, links followed. */
export type HostPathKind = "file" | "folder" | "link" | "socket" | "charDevice" | "blockDevice" | "fifo";

/** `type` of a hostPath → what has to stand there; `undefined`: anything. */
const TYPES: ReadonlyMap<string, HostPathKind | undefined> = new Map([
  ["", undefined],
  ["Directory", "folder"],
  ["DirectoryOrCreate", "folder"],
  ["File", "file"],
  ["FileOrCreate", "file"],
  ["Socket", "socket"],
  ["CharDevice", "charDevice"],
  ["BlockDevice", "blockDevice"],
]);

/**
 * Checks a hostPath. `found` is what stands there, `undefined` for nothing.
 *
 * Differs from the kubelet: krun makes nothing outside its base, so `DirectoryOrCreate` and `FileOrCreate` want it there too.
 *
 * @throws {KrunError} `PodInvalid` naming the volume.
 */
export function checkHostPath(
  { path, type = "" }: V1HostPathVolumeSource,
  { volume, found }: { readonly volume: string; readonly found: HostPathKind | undefined },
): void {
  const wanted = TYPES.get(type);
  let fault: string | undefined;
  if (!TYPES.has(type)) fault = `its type is "${type}"`;
  else if (!path.startsWith("/") || path.split("/").includes("..")) fault = "its path is not absolute or has two dots";
  else if (found === undefined) fault = "nothing is there, and krun makes nothing outside its base";
  else if (wanted !== undefined && wanted !== found) fault = `a ${found} is there, and its type is ${type}`;
  if (fault === undefined) return;
  throw new KrunError(
    "PodInvalid",
    `Cannot mount volume "${volume}" of hostPath "${path}": ${fault}`,
    "correct the path or the type, or make what it names",
  );
}
