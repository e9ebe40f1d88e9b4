/**
 * Where the volumes of a Pod are mounted. In: a Pod. Out: the mounted volumes, and the distinct mounts of each.
 *
 * krun's containers share one file system, so equal mounts of several containers are one.
 *
 * @module
 */
import type { V1Container, V1Pod, V1Volume, V1VolumeMount } from "@kubernetes/client-node";

/** One path at which a volume, or something inside it, is mounted. */
export interface DistinctMount {
  /** The final path on this machine. */
  readonly path: string;
  /** Relative path inside the volume; empty: the volume itself. */
  readonly subPath: string;
  /** Names of the containers that ask for it, init containers first. */
  readonly containers: readonly string[];
}

/** Options of {@linkcode distinctMounts}. */
export interface DistinctMountOptions {
  /** Gives the final path of a `mountPath`: `mountPath()` of core/mount_path.ts. */
  place(path: string): string;
  /** Gives the text of a `subPathExpr` for a container: `subPathExpr()` of core/container_env.ts with its environment. */
  expand(expr: string, container: V1Container): string;
}

/** Every container of a Pod: init containers, then the regular ones. */
export function podContainers(pod: V1Pod): V1Container[] {
  return [...pod.spec?.initContainers ?? [], ...pod.spec?.containers ?? []];
}

/**
 * The volumes that some container mounts, in Pod order, but hostPath volumes before all others: what is mounted inside one is
 * made in it. One that none mounts is left out: it is never set up, so what it refers to need not exist (Kubernetes v1.34
 * pkg/kubelet/volumemanager/populator).
 */
export function mountedVolumes(pod: V1Pod): V1Volume[] {
  const mounted = (pod.spec?.volumes ?? []).filter(({ name }) => mountsOf(pod, name).length > 0);
  return [...mounted.filter(({ hostPath }) => hostPath), ...mounted.filter(({ hostPath }) => !hostPath)];
}

/** Whether a mount of the volume has a `subPathExpr`, so that its place is known only with its container's environment. */
export function needsEnvironment(pod: V1Pod, volume: string): boolean {
  return mountsOf(pod, volume).some(({ mount }) => mount.subPathExpr);
}

/** The mounts of a volume, each final path and subPath once, in Pod order. @throws what `place` and `expand` throw. */
export function distinctMounts(pod: V1Pod, volume: string, { place, expand }: DistinctMountOptions): DistinctMount[] {
  const found = new Map<string, DistinctMount>();
  for (const { mount, container } of mountsOf(pod, volume)) {
    const subPath = mount.subPathExpr ? expand(mount.subPathExpr, container) : mount.subPath ?? "";
    const path = place(mount.mountPath);
    const id = JSON.stringify([path, subPath]);
    const containers = [...found.get(id)?.containers ?? [], container.name];
    found.set(id, { path, subPath, containers });
  }
  return [...found.values()];
}

function mountsOf(pod: V1Pod, volume: string): { mount: V1VolumeMount; container: V1Container }[] {
  return podContainers(pod).flatMap((container) =>
    (container.volumeMounts ?? []).filter(({ name }) => name === volume).map((mount) => ({ mount, container }))
  );
}
