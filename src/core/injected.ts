/**
 * What an injector has added to a Pod in a cluster. In: a Pod as the cluster has it. Out: the Pod without: that proxy is an
 * image's, and knows a way to the control plane that there is not here.
 *
 * @module
 */
import type { V1Container, V1Pod } from "@kubernetes/client-node";
import { podContainers } from "./volume_mounts.ts";

const INJECTED: readonly string[] = ["istio-proxy", "istio-init", "istio-validation"];

/** The Pod without its injected containers and what only they mount; the same one where there are none. */
export function withoutInjected(pod: V1Pod): V1Pod {
  const injected = podContainers(pod).filter(isInjected);
  if (injected.length === 0) return pod;
  const { initContainers = [], containers = [], volumes = [] } = pod.spec!;
  const kept = {
    initContainers: initContainers.filter((container) => !isInjected(container)),
    containers: containers.filter((container) => !isInjected(container)),
  };
  const mounts = (of: V1Container[]) =>
    new Set(of.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name)));
  const theirs = mounts(injected).difference(mounts([...kept.initContainers, ...kept.containers]));
  return { ...pod, spec: { ...pod.spec!, ...kept, volumes: volumes.filter(({ name }) => !theirs.has(name)) } };
}

function isInjected({ name }: V1Container): boolean {
  return INJECTED.includes(name);
}
