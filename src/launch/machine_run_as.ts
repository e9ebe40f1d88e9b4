/**
 * As whom a container runs on this machine. In: a Pod, /etc/passwd, /etc/group. Out: user and groups.
 *
 * @module
 */
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { containerRunAs, type RunAs } from "../core/run_as.ts";

/** User, group and groups. @throws {KrunError} as `containerRunAs` */
export function machineRunAs(container: V1Container, { pod, self }: { pod: V1Pod; self: RunAs }): RunAs {
  return containerRunAs(container, { pod, self, passwd: machineFile("/etc/passwd"), group: machineFile("/etc/group") });
}

/** The text of a file of this machine; empty where it cannot be read: a distroless image may have neither of these two. */
export function machineFile(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
