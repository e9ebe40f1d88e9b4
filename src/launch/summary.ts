/**
 * The one line that says what a start did.
 *
 * @module
 */
import type { ClusterSource } from "../core/cluster.ts";
import type { LogFields } from "../core/log.ts";
import type { LeftOutCluster } from "./locate_cluster.ts";
import type { Run } from "./run.ts";

/** A person reads no more mounts than these in one line; `--check` lists them all. */
const LISTED = 8;

/** Where a cluster was found, in words. */
export function sourceText({ kind, where, context, cluster, chosenBy }: ClusterSource): string {
  if (kind === "google") return `${where} (${chosenBy})`;
  const parts = [...(context ? [`context ${context}`] : []), ...(cluster ? [`cluster ${cluster}`] : [])];
  return `${kind} ${where}${parts.length > 0 ? ` (${parts.join(", ")})` : ""}`;
}

/** Why there is no cluster although one was found, in words. */
export function leftOutText({ source, reason }: LeftOutCluster): string {
  return `${source ? sourceText(source) : "the one that was found"} is left out: ${reason}`;
}

/** What was mounted from where, as whom, and how long each phase took. */
export function summary({ plan, mounted, phases }: Run): LogFields {
  const { volumes } = mounted.status();
  const mounts = volumes.flatMap(({ volume, paths }) =>
    paths.map((path) => ({ origin: plan.planned.origins.get(volume) ?? volume, path }))
  );
  const listed = Object.entries(Object.groupBy(mounts.slice(0, LISTED), ({ origin }) => origin))
    .map(([origin, mounted]) => `${origin}=${mounted?.map(({ path }) => path).join("+")}`);
  const more = mounts.length > LISTED ? ` and ${mounts.length - LISTED} more` : "";
  const { identity, cluster, leftOut, mesh } = plan;
  const none = leftOut ? leftOutText(leftOut) : "no service account";
  return {
    cluster: cluster ? sourceText(cluster.source) : `none: ${none}`,
    namespace: identity?.namespace.value,
    name: identity?.name.value,
    serviceAccount: cluster && identity?.serviceAccount.value,
    mesh: mesh && `${mesh.mesh.address.value} (${mesh.mode.mode})`,
    mounts: listed.join(", ") + more || undefined,
    took: phases.toString(),
  };
}
