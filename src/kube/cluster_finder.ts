/**
 * A place to look for a cluster that needs more than files: a cloud. `find_cluster.ts` asks it in its turn; who wires krun gives
 * it (`launch/google_cloud.ts`).
 *
 * @module
 */
import type { ApiEndpoint } from "../core/cluster.ts";
import type { ClusterConfig } from "../core/cluster_config.ts";
import type { Credentials } from "./credentials.ts";
import type { Transport } from "./transport.ts";

/** A cluster that was found, not opened yet. */
export interface FoundCluster {
  readonly config: ClusterConfig;
  /** krun's own, in place of the config's user. */
  readonly credentials: Credentials;
  /** A way to it that is open already. @default {one is made from the config} */
  readonly opened?: { readonly transport: Transport; readonly endpoint: ApiEndpoint } | undefined;
}

/** Such a place. */
export interface ClusterFinder {
  /** In an error that lists every place: `Google Cloud`. */
  readonly name: string;
  /** A setting names a cluster there: it is asked before the places that nobody named. */
  readonly isNamed: boolean;
  /** The cluster; else why there is none, in one clause. @throws {KrunError} when there should be one */
  find(options: { readonly signal?: AbortSignal | undefined }): Promise<FoundCluster | string>;
}
