/**
 * The clusters that references name: the workload's own, any of GKE by its resource path, any of the kubeconfig by its context. In:
 * what is known of them. Out: open clusters, one for each.
 *
 * @module
 */
import type { Cluster } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import { clusterPath, type GkeClusterName } from "../core/google_resource.ts";
import type { GoogleSettings } from "../core/google_settings.ts";
import type { Logger } from "../core/log.ts";
import type { ProxySettings } from "../core/proxy_choice.ts";
import type { ReferenceCluster, ReferenceObject } from "../core/reference.ts";
import type { GoogleAccount } from "../gcp/google_account.ts";
import { GoogleCredentials } from "../gcp/google_credentials.ts";
import { lookUpCluster } from "../gcp/look_up_cluster.ts";
import type { MetadataServer } from "../gcp/metadata_server.ts";
import { openApiCluster } from "../kube/api_cluster.ts";
import { loadKubeconfig } from "../kube/kubeconfig.ts";
import { noOwnCluster, type ReferenceClusters } from "./kubernetes_reader.ts";

/** krun's account at Google, made when it is needed. */
export interface ReferenceGoogle {
  readonly account: GoogleAccount;
  readonly metadata: MetadataServer;
}

/** Options of {@linkcode OpenClusters}. */
export interface OpenClustersOptions {
  /** The workload's; it is not closed here. */
  readonly own: Cluster | undefined;
  /** Why there is none. */
  readonly noOwn?: string | undefined;
  readonly google: () => Promise<ReferenceGoogle>;
  readonly settings: GoogleSettings;
  /** Files of the kubeconfig, in order. */
  readonly kubeconfig: readonly string[];
  readonly log: Logger;
  readonly files?: FileReader | undefined;
  readonly proxy?: ProxySettings | undefined;
  readonly roots?: (() => Promise<readonly string[]>) | undefined;
  /** Environment of a credential plugin. */
  readonly pluginEnv?: Readonly<Record<string, string>> | undefined;
}

/** Clusters that are opened when a reference needs one. Disposing it closes those that it has opened. */
export class OpenClusters implements ReferenceClusters, AsyncDisposable {
  readonly #options: OpenClustersOptions;
  readonly #open = new Map<string, Promise<Cluster>>();

  constructor(options: OpenClustersOptions) {
    this.#options = options;
  }

  async open(cluster: ReferenceCluster, signal: AbortSignal | undefined): Promise<Cluster> {
    const { own, noOwn } = this.#options;
    if (cluster.kind === "own") {
      if (own) return own;
      throw noOwnCluster(noOwn);
    }
    if (own && isIt(own, cluster)) return own;
    const id = JSON.stringify(cluster);
    const known = this.#open.get(id);
    if (known) return await known;
    const opening = cluster.kind === "gke" ? this.#ofGke(cluster.name, signal) : this.#ofContext(cluster.context);
    this.#open.set(id, opening);
    try {
      return await opening;
    } catch (error) {
      if (this.#open.get(id) === opening) this.#open.delete(id);
      throw error;
    }
  }

  /** An object in the words of the short form, if it is one of the workload's own cluster. @param namespace the workload's */
  canonical(object: ReferenceObject, namespace: string): ReferenceObject {
    if (object.system !== "kubernetes") return object;
    const { own } = this.#options;
    const isOwn = object.cluster.kind === "own" || own !== undefined && isIt(own, object.cluster);
    return isOwn ? { ...object, cluster: { kind: "own" }, namespace: object.namespace ?? namespace } : object;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const opened = await Promise.allSettled(this.#open.values());
    this.#open.clear();
    for (const one of opened) {
      if (one.status === "fulfilled" && one.value !== this.#options.own) await one.value[Symbol.asyncDispose]();
    }
  }

  async #ofGke(name: GkeClusterName, signal: AbortSignal | undefined): Promise<Cluster> {
    const { google, settings, own, ...options } = this.#options;
    const { account, metadata } = await google();
    const place = { project: name.project, ownProject: undefined, region: undefined };
    const target = { kind: "cluster" as const, name };
    const found = await lookUpCluster(place, {
      settings: { ...settings, off: false, clusterName: undefined, location: undefined, target },
      // The reference names it.
      namesNamespace: true,
      ...{ account, metadata, signal, log: options.log },
    }).catch((error) => {
      throw error instanceof KrunError && error.code === "ClusterNotFound" ? withHint(error) : error;
    });
    if (typeof found === "string") {
      throw withHint(new KrunError("ClusterNotFound", `Cannot find cluster: ${found}`, ""));
    }
    // Called by its project's number, it shows only now.
    if (own?.source.kind === "google" && own.source.where === found.config.source.where) return own;
    return await openApiCluster(found.config, { ...options, credentials: new GoogleCredentials(account) });
  }

  async #ofContext(context: string): Promise<Cluster> {
    const { kubeconfig, files, ...options } = this.#options;
    const config = await loadKubeconfig(kubeconfig, { context, files }).catch((error) => {
      if (!(error instanceof KrunError) || error.code !== "KubeconfigInvalid") throw error;
      const hint = "correct the context in the reference, or KUBECONFIG";
      throw new KrunError(error.code, error.message, hint, { cause: error.cause });
    });
    return await openApiCluster(config, { ...options, files });
  }
}

/** Whether the workload's own cluster is the one that is named. gcloud calls a context after its cluster. */
function isIt({ source }: Cluster, cluster: Exclude<ReferenceCluster, { kind: "own" }>): boolean {
  const { kind, where, context } = source;
  if (cluster.kind === "context") return kind === "kubeconfig" && context === cluster.context;
  const { project, location, cluster: name } = cluster.name;
  return kind === "google" ? where === clusterPath(cluster.name) : context === `gke_${project}_${location}_${name}`;
}

function withHint({ message, cause, transient }: KrunError): KrunError {
  return new KrunError("ClusterNotFound", message, "correct the cluster in the reference", { cause, transient });
}
