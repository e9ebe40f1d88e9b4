/**
 * As whom a container runs: user, group and the whole list of groups. Rules: Kubernetes v1.34 pkg/securitycontext/util.go and
 * pkg/kubelet/kuberuntime/security_context.go; what the container runtime reads from the image's /etc/passwd and /etc/group
 * is read from the machine's.
 *
 * @module
 */
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { KrunError } from "./errors.ts";

/** A user as the kernel knows it. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups, the whole list. */
  readonly groups: readonly number[];
}

/** Options of {@linkcode containerRunAs}. */
export interface RunAsOptions {
  readonly pod: V1Pod;
  /** Who krun is: used where the Pod says nothing. */
  readonly self: RunAs;
  /** Text of /etc/passwd; empty when there is none. */
  readonly passwd: string;
  /** Text of /etc/group; empty when there is none. */
  readonly group: string;
}

/**
 * User, group and groups of a container's process. The container's securityContext wins over the Pod's.
 *
 * A user without `runAsGroup` has the primary group of /etc/passwd, else the group of its own number. The list is `fsGroup`,
 * `supplementalGroups` and, unless `supplementalGroupsPolicy` is Strict, the user's groups in /etc/group.
 *
 * @throws {KrunError} `PodInvalid` when `runAsNonRoot` meets user 0; `RunAsDenied` when krun is not root and must change user.
 */
export function containerRunAs(container: V1Container, { pod, self, passwd, group }: RunAsOptions): RunAs {
  const own = container.securityContext;
  const shared = pod.spec?.securityContext;
  const uid = own?.runAsUser ?? shared?.runAsUser ?? self.uid;
  if (uid === 0 && (own?.runAsNonRoot ?? shared?.runAsNonRoot)) {
    throw new KrunError(
      "PodInvalid",
      `Cannot run container "${container.name}": runAsNonRoot is true and its user is 0`,
      "set runAsUser or KRUN_RUN_AS to another user",
    );
  }
  const entry = passwdEntry(passwd, uid);
  const gid = own?.runAsGroup ?? shared?.runAsGroup ?? (uid === self.uid ? self.gid : entry?.gid ?? uid);
  const asked = [...(shared?.fsGroup === undefined ? [] : [shared.fsGroup]), ...(shared?.supplementalGroups ?? [])];
  if (uid === self.uid && gid === self.gid && asked.length === 0) return self;
  if (self.uid !== 0) {
    if (uid !== self.uid || gid !== self.gid || asked.some((g) => g !== self.gid && !self.groups.includes(g))) {
      throw new KrunError(
        "RunAsDenied",
        `Cannot run container "${container.name}" as ${uid}:${gid}: krun runs as ${self.uid}:${self.gid} and is not root`,
        "start krun as root, or remove KRUN_RUN_AS and the Pod's securityContext",
      );
    }
    return self;
  }
  const merged = shared?.supplementalGroupsPolicy === "Strict" ? [] : memberships(group, entry?.name);
  return { uid, gid, groups: [...new Set([...asked, ...merged])] };
}

/**
 * The home folder of a program that may be another user than krun: that user's, as a container runtime has it, where `home` is the one
 * that krun's own user has. A HOME that somebody has chosen stays.
 */
export function homeAs(
  home: string | undefined,
  { uid, self, passwd }: Pick<RunAsOptions, "passwd"> & { readonly uid: number; readonly self: Pick<RunAs, "uid"> },
): string | undefined {
  const homeOf = (user: number) => passwdEntry(passwd, user)?.home || "/";
  const isChosen = home !== homeOf(self.uid) && !(self.uid === 0 && home === "/root");
  return uid === self.uid || isChosen ? home : homeOf(uid);
}

interface PasswdEntry {
  readonly name: string;
  readonly gid: number;
  /** Empty where the entry has none. */
  readonly home: string;
}

function passwdEntry(passwd: string, uid: number): PasswdEntry | undefined {
  for (const line of passwd.split("\n")) {
    const [name, , id, gid, , home = ""] = line.split(":");
    if (name && Number(id) === uid && id !== "" && /^\d+$/.test(gid ?? "")) return { name, gid: Number(gid), home };
  }
  return undefined;
}

function memberships(group: string, user: string | undefined): number[] {
  if (user === undefined) return [];
  return group.split("\n").flatMap((line) => {
    const [, , gid, members] = line.split(":");
    return /^\d+$/.test(gid ?? "") && members?.trim().split(",").includes(user) ? [Number(gid)] : [];
  });
}
