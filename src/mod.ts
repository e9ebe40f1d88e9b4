/**
 * krun as a library: find a cluster, mount a Pod's files, keep a token fresh, resolve references, run a Pod. No function reads the process's
 * environment or ends the process; each takes an AbortSignal and fails with a {@linkcode KrunError}. An abort before a function
 * has what it is for (the cluster, the files, the first token) rejects with the signal's reason, as `fetch` does, and leaves
 * nothing; one that comes later is the end that was asked for, and no failure.
 *
 * Deno itself obeys variables of the process for the requests to an API server: `HTTPS_PROXY` and its like, `DENO_CERT`,
 * `NODE_EXTRA_CA_CERTS`, `DENO_TLS_CA_STORE`; and its own CAs count beside the one that a kubeconfig gives. A program that wants
 * kubectl's rules calls {@linkcode ownNetwork} first, as `krun` does.
 *
 * @module
 */
export type { MissingAccess } from "./core/access_role.ts";
export { type ErrorCode, type ErrorMeaning, ERRORS, KrunError, type KrunErrorOptions } from "./core/errors.ts";
export type * from "./core/cluster.ts";
export type { WorkloadProvider } from "./core/google_resource.ts";
export type { Clock } from "./core/clock.ts";
export { type LogFields, type Logger, type LogLevel, silentLog } from "./core/log.ts";
export type { Env } from "./core/pod_inputs.ts";
export type { ProxySettings } from "./core/proxy_choice.ts";
export type { ApiTiming } from "./kube/api_cluster.ts";
export { type ClusterRequest, findCluster, type FindClusterOptions } from "./kube/find_cluster.ts";
export type { FollowTiming } from "./kube/watch.ts";
export type { FileReader } from "./core/file_reader.ts";
export { ownNetwork, type ProcessEnv } from "./launch/own_network.ts";
export { type MountedPod, mountPod, type PodOptions, runPod, type RunPodOptions } from "./launch/library.ts";
export { resolveReferences, type ResolveReferencesOptions } from "./launch/resolve_references.ts";
export { keepToken, type KeepTokenOptions } from "./pod/token_file.ts";
