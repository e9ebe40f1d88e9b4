/**
 * Which cluster. In: what the settings and the surroundings say. Out: an open {@linkcode Cluster}; the first source that exists
 * decides, and whether it can be reached plays no part.
 *
 * @module
 */
import type { Cluster } from "../core/cluster.ts";
import type { ClusterConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { join } from "../core/posix_path.ts";
import type { FileReader } from "../core/file_reader.ts";
import type { ProxySettings } from "../core/proxy_choice.ts";
import { abortable } from "./abort.ts";
import { type ApiTiming, openApiCluster } from "./api_cluster.ts";
import type { ClusterFinder, FoundCluster } from "./cluster_finder.ts";
import { findInCluster } from "./in_cluster.ts";
import { loadKubeconfig } from "./kubeconfig.ts";

/** What may say where the cluster is. What is unset was not given. */
export interface ClusterRequest {
  /** KRUN_MANIFESTS: a folder. */
  readonly manifests?: string | undefined;
  /** KUBECONFIG: its files, in order. Empty or unset: there is none. */
  readonly kubeconfig?: readonly string[] | undefined;
  /** KRUN_CONTEXT: a context of the kubeconfig. */
  readonly context?: string | undefined;
  /** HOME: `.kube/config` is below it. */
  readonly home?: string | undefined;
  /** KUBERNETES_SERVICE_HOST */
  readonly kubernetesServiceHost?: string | undefined;
  /** KUBERNETES_SERVICE_PORT */
  readonly kubernetesServicePort?: string | undefined;
  /** Folder of the Pod's service account, for tests. */
  readonly inClusterFolder?: string | undefined;
  /** krun's own folder, for the key that signs tokens of a folder of manifests. */
  readonly stateFolder: string;
  /** False: that key is not kept, for a look that leaves nothing behind. @default {true} */
  readonly keepKey?: boolean | undefined;
  /**
   * Proxies of the environment, for an API server. Deno itself obeys such variables of the process as well, for every server;
   * `ownNetwork` prevents that. @default {none}
   */
  readonly proxy?: ProxySettings | undefined;
  /**
   * CAs, PEM, for a server whose CA nobody gives; asked for when they are needed, once at least.
   * @default {Deno's own, which also count beside a CA that is given, unless `ownNetwork` prevents that}
   */
  readonly roots?: (() => Promise<readonly string[]>) | undefined;
  /** Reads the kubeconfig and the files that it names. @default {Deno, which opens nothing below /dev, /proc and /sys} */
  readonly files?: FileReader | undefined;
  /** Environment for a credential plugin. @default {krun's own} */
  readonly pluginEnv?: Readonly<Record<string, string>> | undefined;
}

/** What may say where the cluster is, for krun itself. */
export interface CloudRequest extends ClusterRequest {
  /** A cloud to look in. @default {none} */
  readonly cloud?: ClusterFinder | undefined;
}

/** Options of {@linkcode findCluster}. */
export interface FindClusterOptions {
  /** Where events of the cluster go: an outage, a watch that is not allowed. */
  readonly log: Logger;
  /** How an API server is followed. */
  readonly timing?: ApiTiming | undefined;
  /** Ends the search. What was found ends by being disposed. */
  readonly signal?: AbortSignal | undefined;
}

/** One place to look. */
interface Source {
  readonly name: string;
  /** The cluster if the source exists; else why it does not; `undefined` where that is not worth a word. */
  find(request: CloudRequest, options: FindClusterOptions): Promise<Cluster | string | undefined>;
}

/** Every source, in the order in which they are asked. A new one is a line here. */
const SOURCES: readonly Source[] = [
  {
    name: "KRUN_MANIFESTS",
    find: async ({ manifests, stateFolder, keepKey }, { log }) => {
      if (!manifests) return "not set";
      const { openManifestCluster } = await import("./manifest_cluster.ts");
      return await openManifestCluster(manifests, { stateFolder, keepKey, log });
    },
  },
  {
    name: "KUBECONFIG",
    find: async (request, options) => {
      if (!request.kubeconfig?.length) return "not set";
      return await open(await loadKubeconfig(request.kubeconfig, request), request, options);
    },
  },
  {
    name: "CLUSTER_NAME and MESH",
    find: async (request, options) => request.cloud?.isNamed ? await findInCloud(request, options) : undefined,
  },
  {
    name: "service account of a Pod",
    find: async (request, options) => {
      const { inClusterFolder: folder, kubernetesServiceHost: host, kubernetesServicePort: port } = request;
      const found = await findInCluster({ folder, host, port });
      return typeof found === "string" ? found : await open(found, request, options);
    },
  },
  {
    name: "~/.kube/config",
    find: async (request, options) => {
      if (!request.home) return "HOME is not set";
      const path = join(request.home, ".kube", "config");
      if (!await Deno.stat(path).then((s) => s.isFile, () => false)) return `there is no "${path}"`;
      return await open(await loadKubeconfig([path], request), request, options);
    },
  },
  {
    name: "Google Cloud",
    find: async (request, options) => request.cloud ? await findInCloud(request, options) : undefined,
  },
];

async function findInCloud(request: CloudRequest, options: FindClusterOptions): Promise<Cluster | string> {
  const found = await request.cloud!.find(options);
  if (typeof found === "string") return found;
  return await open(found.config, request, { ...options, ...found });
}

/**
 * Opens the cluster of the first source that exists, in the order KRUN_MANIFESTS, KUBECONFIG, the Pod's service account,
 * ~/.kube/config. Asks no server anything. One that is faulty or cannot be reached is never a reason to try the next: that
 * would be another cluster or another identity than the one that was asked for.
 *
 * A file that is a pipe is waited for. Whoever gets the cluster disposes it. Needs `--allow-read` for what the request names;
 * its requests need `--allow-net`, and `--allow-run` for an exec plugin.
 *
 * @throws {KrunError} `ClusterNotFound` listing every source and why there is none; what opening the found one throws. Or the
 * signal's reason.
 *
 * @example
 * ```ts
 * import { findCluster, silentLog } from "../mod.ts";
 * import assert from "node:assert/strict";
 *
 * const folder = await Deno.makeTempDir();
 * await Deno.mkdir(`${folder}/k8s`);
 * await Deno.writeTextFile(`${folder}/k8s/app.yaml`, `
 * apiVersion: v1
 * kind: ConfigMap
 * metadata: { name: app, namespace: shop }
 * data: { level: high }
 * `);
 * const request = { manifests: `${folder}/k8s`, stateFolder: `${folder}/state` }; // or { kubeconfig: ["/home/me/.kube/config"], ... }
 * {
 *   await using cluster = await findCluster(request, { log: silentLog, signal: AbortSignal.timeout(5_000) });
 *   const app = await cluster.get({ kind: "ConfigMap", namespace: "shop", name: "app" });
 *   assert.deepEqual(app?.data, { level: "high" });
 * }
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export function findCluster(request: ClusterRequest, options: FindClusterOptions): Promise<Cluster> {
  return findClusterOrCloud(request, options);
}

/**
 * As {@linkcode findCluster}, and in a cloud: one that a setting names goes before the Pod's service account, any other comes last.
 *
 * @throws as {@linkcode findCluster}, and what looking in the cloud throws
 */
export async function findClusterOrCloud(request: CloudRequest, options: FindClusterOptions): Promise<Cluster> {
  const { signal } = options;
  signal?.throwIfAborted();
  const searching = search(request, options);
  try {
    return await abortable(searching, signal);
  } catch (error) {
    // What is found after the search was given up is nobody's.
    if (signal?.aborted) searching.then((cluster) => cluster[Symbol.asyncDispose]()).catch(() => {});
    throw error;
  }
}

async function search(request: CloudRequest, options: FindClusterOptions): Promise<Cluster> {
  const tried: string[] = [];
  for (const source of SOURCES) {
    const found = await source.find(request, options);
    if (typeof found === "object") return await withContext(found, request);
    if (found !== undefined) tried.push(`${source.name}: ${found}`);
  }
  throw new KrunError(
    "ClusterNotFound",
    `Cannot find a cluster: ${tried.join("; ")}`,
    "set KUBECONFIG, CLUSTER_NAME or KRUN_MANIFESTS",
    {
      details: tried.join("\n"),
    },
  );
}

/** KRUN_CONTEXT means a kubeconfig: another source would be another cluster than was asked for. @throws {KrunError} */
async function withContext(cluster: Cluster, { context }: ClusterRequest): Promise<Cluster> {
  if (!context || cluster.source.kind === "kubeconfig") return cluster;
  await cluster[Symbol.asyncDispose]();
  const { kind, where } = cluster.source;
  const places = {
    manifests: "the manifests",
    google: "Google Cloud",
    kubeconfig: "",
    "in-cluster": "the service account of a Pod",
  };
  throw new KrunError(
    "SettingConflict",
    `Cannot use KRUN_CONTEXT "${context}": the cluster is from ${places[kind]} in ${where}, which has no contexts`,
    "unset KRUN_CONTEXT, or set KUBECONFIG and no KRUN_MANIFESTS",
  );
}

function open(
  config: ClusterConfig,
  { proxy, pluginEnv, roots, files }: ClusterRequest,
  { log, timing, credentials, opened }: FindClusterOptions & Partial<FoundCluster>,
): Promise<Cluster> {
  return openApiCluster(config, { log, proxy, pluginEnv, roots, files, timing, credentials, opened });
}
