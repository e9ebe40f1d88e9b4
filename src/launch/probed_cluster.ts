/**
 * A cluster of which one token was requested already, to see whether it is of use. In: the cluster and that token. Out: the same
 * cluster, whose first request for that token is answered from here.
 *
 * @module
 */
import type { V1Service } from "@kubernetes/client-node";
import type {
  AccessRequest,
  AccessVerdict,
  Cluster,
  FollowOptions,
  GrantedToken,
  ObjectRef,
  ResourceRef,
  TokenRef,
  TokenVerdict,
  UserAccessRequest,
  WatchedObject,
} from "../core/cluster.ts";

/** What was requested, and what came. */
export interface ProbedToken {
  readonly ref: TokenRef;
  readonly granted: GrantedToken;
}

/** A cluster with a token in advance. Disposing it disposes the cluster. */
export class ProbedCluster implements Cluster {
  readonly #cluster: Cluster;
  #probed: ProbedToken | undefined;

  constructor(cluster: Cluster, probed: ProbedToken) {
    this.#cluster = cluster;
    this.#probed = probed;
  }

  get source(): Cluster["source"] {
    return this.#cluster.source;
  }

  get endpoint(): Cluster["endpoint"] {
    return this.#cluster.endpoint;
  }

  get counts(): Cluster["counts"] {
    return this.#cluster.counts;
  }

  get(ref: ObjectRef, options?: { signal?: AbortSignal }): Promise<WatchedObject | undefined> {
    return this.#cluster.get(ref, options);
  }

  resource(ref: ResourceRef, options?: { signal?: AbortSignal }): Promise<unknown> {
    return this.#cluster.resource(ref, options);
  }

  services(namespace: string, options?: { signal?: AbortSignal }): Promise<V1Service[]> {
    return this.#cluster.services(namespace, options);
  }

  reviewToken(token: string, options: { readonly audience: string; signal?: AbortSignal }): Promise<TokenVerdict> {
    return this.#cluster.reviewToken(token, options);
  }

  accessOf(request: UserAccessRequest, options?: { signal?: AbortSignal }): Promise<AccessVerdict> {
    return this.#cluster.accessOf(request, options);
  }

  follow(ref: ObjectRef, options: FollowOptions): Promise<void> {
    return this.#cluster.follow(ref, options);
  }

  /** The token in advance is given away once: a renewal is another one. */
  requestToken(ref: TokenRef, options?: { signal?: AbortSignal }): Promise<GrantedToken> {
    const probed = this.#probed;
    if (probed === undefined || !isSame(probed.ref, ref)) return this.#cluster.requestToken(ref, options);
    this.#probed = undefined;
    return Promise.resolve(probed.granted);
  }

  access(request: AccessRequest, options?: { signal?: AbortSignal }): Promise<AccessVerdict> {
    return this.#cluster.access(request, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster[Symbol.asyncDispose]();
  }
}

function isSame(one: TokenRef, other: TokenRef): boolean {
  return one.namespace === other.namespace && one.serviceAccount === other.serviceAccount &&
    one.audience === other.audience && one.expirationSeconds === other.expirationSeconds;
}
