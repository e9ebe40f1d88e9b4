/**
 * The workload's own cluster, as a start finds it: what is asked for, or merely found and of no harm. In: settings, Google Cloud. Out: an
 * open cluster, or why there is none.
 *
 * @module
 */
import type { Cluster, ClusterSource } from "../core/cluster.ts";
import type { CachedCluster } from "../core/cluster_cache.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { proxySettings } from "../core/proxy_choice.ts";
import type { Settings } from "../core/settings.ts";
import { findClusterOrCloud } from "../kube/find_cluster.ts";
import { machineRoots } from "../kube/machine_roots.ts";
import { anyFile } from "../pod/special_files.ts";
import type { LazyGoogle } from "./lazy_google.ts";
import type { Surroundings } from "./surroundings.ts";

/** A cluster that nothing asks for and that cannot be opened or gave no token. */
export interface LeftOutCluster {
  /** Unset where what says which cluster it is cannot be read: the reason names it. */
  readonly source?: ClusterSource;
  /** Why it is left out, in one clause. */
  readonly reason: string;
  /** What to do about that, where it is known. */
  readonly hint?: string;
}

/** How long a cluster that nobody asked for may take to answer. */
export const UNASKED_TIMEOUT_MS = 5_000;

/** Options of {@linkcode locateCluster}. */
export interface LocateOptions {
  readonly settings: Settings;
  readonly log: Logger;
  /** krun's own folder. */
  readonly stateFolder: string;
  /** As in `ClusterRequest`. */
  readonly keepKey?: boolean | undefined;
  /** Ends it while it waits. */
  readonly signal?: AbortSignal | undefined;
  /** Where a cluster of Google Cloud is looked for. @default {nowhere} */
  readonly google?: LazyGoogle | undefined;
}

/** What came of it. */
export interface LocatedCluster {
  readonly cluster?: Cluster;
  /** The cluster that was found and is of no use. */
  readonly leftOut?: LeftOutCluster;
  /** Where the cluster was found just now, for the next start. */
  readonly clusterToKeep?: CachedCluster;
}

/**
 * The cluster; none when nothing asks for one and no source exists, or the one that exists cannot be opened.
 *
 * @throws {KrunError} `ClusterNotFound` when something asks for one, and what opening it, or looking for it in a cloud, throws
 */
export async function locateCluster(
  outer: Surroundings,
  { settings, log, signal, keepKey, stateFolder, google }: LocateOptions,
): Promise<LocatedCluster> {
  const { serviceHost, servicePort, certFile, ...places } = settings.cluster;
  const cloud = google?.search(stateFolder);
  const { clusterAskedBy, googleAccountAskedBy } = settings;
  const isAsked = clusterAskedBy.length > 0;
  const decidesAccount = cloud !== undefined && googleAccountAskedBy.length > 0;
  try {
    const request = {
      ...places,
      kubernetesServiceHost: serviceHost,
      kubernetesServicePort: servicePort,
      stateFolder,
      keepKey,
      proxy: proxySettings(outer.env),
      pluginEnv: outer.env,
      roots: () => machineRoots(certFile),
      files: anyFile,
      cloud,
    };
    const cluster = await findClusterOrCloud(request, {
      log,
      signal: searchSignal({ isAsked: isAsked || decidesAccount }, signal),
    });
    const found = { cluster, ...(cloud?.toKeep && { clusterToKeep: cloud.toKeep }) };
    if (isAsked || cluster.source.namespace || settings.workload.service) return found;
    await cluster[Symbol.asyncDispose]();
    const leftOut = { source: cluster.source, reason: "it names no namespace for the workload" };
    warnOfLeftOut(log, leftOut);
    return { leftOut };
  } catch (cause) {
    signal?.throwIfAborted();
    // Until it is known that there is none, nobody knows as whom the program is to meet Google.
    if (decidesAccount && !cloud.isNone && cause instanceof KrunError) throw decidesAccountOf(settings, cause);
    const isLate = cause instanceof DOMException && cause.name === "TimeoutError";
    if (isLate || cause instanceof KrunError && cause.transient && !isAsked) {
      const leftOut = leftOutBy(cause);
      warnOfLeftOut(log, leftOut);
      return { leftOut };
    }
    if (!(cause instanceof KrunError) || cause.code === "Internal") throw cause;
    // Each of them is told with all that fails.
    if (asksForReferences(settings)) return { leftOut: leftOutBy(cause) };
    const isAbsent = cause.code === "ClusterNotFound";
    if (!isAsked) {
      if (isAbsent) return {};
      const leftOut = leftOutBy(cause);
      warnOfLeftOut(log, leftOut);
      return { leftOut };
    }
    if (!isAbsent) throw cause;
    const askedBy = clusterAskedBy.join(", ");
    throw new KrunError(cause.code, `${cause.message} (asked for by ${askedBy})`, cause.hint, { cause });
  }
}

/** Why nobody knows as whom the program is to meet Google: the failure that it is, and the way past it. */
function decidesAccountOf({ googleAccountAskedBy, clusterAskedBy }: Settings, cause: KrunError): KrunError {
  if (clusterAskedBy.length > 0) return cause;
  const message = `${cause.message} (the cluster says whose tokens ${googleAccountAskedBy.join(", ")} asks for)`;
  const hint = `${cause.hint}, or set KRUN_GOOGLE_ACCOUNT=platform if they are to be krun's own`;
  const { transient, details } = cause;
  return new KrunError(cause.code, message, hint, { cause, transient, ...(details !== undefined && { details }) });
}

/** Whether references are all that asks for a cluster. */
function asksForReferences({ clusterAskedBy, references }: Settings): boolean {
  return clusterAskedBy.length > 0 && clusterAskedBy.every((name) => references.ofOwnCluster.includes(name));
}

/** A cluster that nobody asked for is not looked for long. */
function searchSignal({ isAsked }: { isAsked: boolean }, signal: AbortSignal | undefined): AbortSignal | undefined {
  if (isAsked) return signal;
  return AbortSignal.any([AbortSignal.timeout(UNASKED_TIMEOUT_MS), ...signal ? [signal] : []]);
}

/** Says so in the log. */
export function warnOfLeftOut(log: Logger, { source, reason, hint }: LeftOutCluster): void {
  const state = source === undefined ? "no cluster can be found" : "the cluster that was found is of no use";
  log.warn(`starting without a service account: ${state}`, { cluster: source?.where, reason, hint });
}

/** Why a cluster is left out, and what to do about that. */
export function leftOutBy(cause: unknown): Pick<LeftOutCluster, "reason" | "hint"> {
  if (cause instanceof DOMException && cause.name === "TimeoutError") {
    return { reason: `no answer within ${UNASKED_TIMEOUT_MS / 1000} s` };
  }
  // What it would print below is printed nowhere.
  if (cause instanceof KrunError && cause.missing) {
    return { reason: cause.message, hint: "allow it; or, if none is meant, CLUSTER_NAME=- looks for none" };
  }
  if (cause instanceof KrunError) return { reason: cause.message, hint: cause.hint };
  return { reason: cause instanceof Error ? cause.message : String(cause) };
}
