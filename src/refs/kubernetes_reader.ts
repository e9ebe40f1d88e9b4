/**
 * Reads and follows a Secret or ConfigMap of any cluster. In: which, and who opens clusters. Out: the object.
 *
 * @module
 */
import type { Cluster, ObjectRef, WatchedObject } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { KubernetesKey, ReferenceCluster } from "../core/reference.ts";
import type { FoundObject } from "../core/reference_value.ts";
import type { ObjectFollowOptions, ObjectReader } from "./referenced_object.ts";

/** Who opens the clusters that references name. */
export interface ReferenceClusters {
  /** The cluster, one for all who ask. @throws {KrunError} where there is none, or it cannot be opened */
  open(cluster: ReferenceCluster, signal: AbortSignal | undefined): Promise<Cluster>;
}

/** Options of {@linkcode KubernetesReader}. */
export interface KubernetesReaderOptions {
  readonly clusters: ReferenceClusters;
  /** The workload's namespace. */
  readonly namespace: string;
}

/** A Secret or ConfigMap. */
export class KubernetesReader implements ObjectReader {
  readonly #where: ReferenceCluster;
  readonly #ref: ObjectRef;
  readonly #clusters: ReferenceClusters;
  #known: WatchedObject | undefined;

  constructor(object: KubernetesKey, { clusters, namespace }: KubernetesReaderOptions) {
    this.#where = object.cluster;
    this.#ref = { kind: object.kind, namespace: object.namespace ?? namespace, name: object.name };
    this.#clusters = clusters;
  }

  async read(signal: AbortSignal | undefined): Promise<FoundObject | undefined> {
    const cluster = await this.#clusters.open(this.#where, signal);
    this.#known = await cluster.get(this.#ref, signal ? { signal } : {});
    return found(this.#known);
  }

  async follow({ signal, deliver, onState }: ObjectFollowOptions): Promise<void> {
    const cluster = await this.#clusters.open(this.#where, signal);
    await cluster.follow(this.#ref, {
      signal,
      known: this.#known ?? null,
      deliver: (object) => deliver(found(object)),
      onState,
    });
  }
}

function found(object: WatchedObject | undefined): FoundObject | undefined {
  return object && { kind: "object", object };
}

/** The failure of a reference to a cluster that is not there. @param reason why it is not. @default {"there is none"} */
export function noOwnCluster(reason = "there is none"): KrunError {
  return new KrunError(
    "ClusterNotFound",
    `Cannot read from the workload's own cluster: ${reason.replace(/^Cannot /, "cannot ")}`,
    "set KUBECONFIG or KRUN_MANIFESTS, or name the cluster in the reference",
  );
}
