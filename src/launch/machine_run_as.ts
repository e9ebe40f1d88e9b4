/**
 * As whom a container runs on this machine. In: a Pod, /etc/passwd, /etc/group. Out: user and groups.
 *
 * @module
 */
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { containerRunAs, homeAs, type RunAs } from "../core/run_as.ts";

/** User, group and groups. @throws {KrunError} as `containerRunAs` */
export function machineRunAs(container: V1Container, { pod, self }: { pod: V1Pod; self: RunAs }): RunAs {
  return containerRunAs(container, { pod, self, passwd: machineFile("/etc/passwd"), group: machineFile("/etc/group") });
}

/** HOME of a container's program, where krun has it as `home`: `homeAs` of its user. */
export function machineHome(
  { securityContext }: V1Container,
  { pod, self, home }: { pod: V1Pod; self: RunAs; home: string | undefined },
): string | undefined {
  const uid = securityContext?.runAsUser ?? pod.spec?.securityContext?.runAsUser ?? self.uid;
  return uid === self.uid ? home : homeAs(home, { uid, self, passwd: machineFile("/etc/passwd") });
}

/** The text of a file of this machine; empty where it cannot be read: a distroless image may have neither of these two. */
export function machineFile(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
