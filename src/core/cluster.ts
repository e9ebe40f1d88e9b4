/**
 * What krun needs from a place that holds Kubernetes objects and grants tokens. Two implementations: a kube-apiserver
 * (`kube/api_cluster.ts`) and a folder of manifests (`kube/manifest_cluster.ts`). One contract test runs against both.
 *
 * @module
 */
import type { V1ConfigMap, V1Secret, V1Service } from "@kubernetes/client-node";
import type { WorkloadProvider } from "./google_resource.ts";

/** The kinds krun reads one object of. */
export type ObjectKind = "Secret" | "ConfigMap";

/** Which object. */
export interface ObjectRef {
  /** Secret or ConfigMap. */
  readonly kind: ObjectKind;
  /** Its namespace. */
  readonly namespace: string;
  /** Its `metadata.name`. */
  readonly name: string;
}

/** One object of any kind, or all of one kind in a namespace, read once. */
export interface ResourceRef {
  /** Empty for the core group. */
  readonly apiGroup: string;
  /** As `v1`. */
  readonly version: string;
  /** As `configmaps`. */
  readonly resource: string;
  /** Its namespace. */
  readonly namespace: string;
  /** Its `metadata.name`; unset: all of the namespace, as a list. */
  readonly name?: string;
  /** What a person can do who may not have that right, after `or`. */
  readonly otherwise?: string;
}

/** A Secret or ConfigMap as the API gives it: Secret `data` is base64, ConfigMap `data` text, `binaryData` base64. */
export type WatchedObject = V1Secret | V1ConfigMap;

/** Which token. Two equal requests share one token. */
export interface TokenRef {
  /** Namespace of the service account. */
  readonly namespace: string;
  /** Name of the service account. */
  readonly serviceAccount: string;
  /** Empty: the API server's own audience. */
  readonly audience: string;
  /** Seconds of life asked for; what the server grants decides. */
  readonly expirationSeconds: number;
}

/** A token and how long the server says it lives. Plan by these two, never by the JWT's own `exp` (KEP-1205, 3607 s). */
export interface GrantedToken {
  /** The JWT. */
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly issuedAtMs: number;
  /** Milliseconds since the epoch. */
  readonly expiresAtMs: number;
}

/** How the program can reach the API server itself. A folder of manifests has none. */
export interface ApiEndpoint {
  /** URL of the server, may have a path prefix. */
  readonly server: string;
  /** PEM of the CA with which krun verifies the server; `undefined`: the system's roots. */
  readonly caPem: string | undefined;
  /** Name in the server's certificate, when it is not the URL's host. */
  readonly tlsServerName?: string;
  /** Proxy through which it is reached. */
  readonly proxyUrl?: string;
  /** The kubeconfig says not to verify the server. */
  readonly insecureSkipTlsVerify?: boolean;
  /** Why service account tokens are not taken there, in one clause: the program cannot use it. */
  readonly refusesServiceAccounts?: string;
}

/** Where a cluster was found, for the summary line, `--check` and every error. */
export interface ClusterSource {
  /** What kind of place said where the cluster is. */
  readonly kind: "kubeconfig" | "in-cluster" | "manifests" | "google";
  /** The file or folder, as a person would name it; of a cluster of Google Cloud its resource name. */
  readonly where: string;
  /** Context of the kubeconfig. */
  readonly context?: string;
  /** Name of the cluster in the kubeconfig. */
  readonly cluster?: string;
  /** Name of the user in the kubeconfig: krun's own identity. */
  readonly user?: string;
  /** The namespace that this source implies for a workload. */
  readonly namespace?: string;
  /** Why it implies that one, where that is not plain. */
  readonly namespaceRule?: string;
  /** The service account that this source implies for a workload in that namespace. */
  readonly serviceAccount?: string;
  /** Why this cluster of several, in one clause. */
  readonly chosenBy?: string;
  /** It was found at a start before this one, and is as it was then. */
  readonly isCached?: boolean;
  /** Who at Google believes the cluster's service account tokens. */
  readonly workloadProvider?: WorkloadProvider;
}

/** State of one followed object, in the words that `--check`, the status page and the log share. */
export type FollowState = "watching" | "polling" | "retrying";

/** Options of {@linkcode Cluster.follow}. */
export interface FollowOptions {
  /** Ends the loop; the promise then resolves. */
  readonly signal: AbortSignal;
  /** The version already delivered to the caller, so that it is not delivered again. `null`: known to be absent. */
  readonly known?: WatchedObject | null;
  /**
   * Called with each new version, one call at a time, each awaited; `undefined` when the object is gone.
   * The newest version is always delivered, never an older one after a newer; versions in between may be skipped.
   */
  deliver(object: WatchedObject | undefined): void | Promise<void>;
  /** Called when the way of following changes. */
  onState?(state: FollowState, reason?: Error): void;
}

/** The answer to "may krun do this?". */
export interface AccessVerdict {
  /** Whether it may. */
  readonly allowed: boolean;
  /** The server's reason, or why it could not be asked. */
  readonly reason: string;
}

/** One right that krun uses, as RBAC names it. */
export interface AccessRequest {
  /** What is done. */
  readonly verb: "get" | "list" | "watch" | "create";
  /** With subresource: `serviceaccounts/token`. */
  readonly resource: string;
  /** Where. */
  readonly namespace: string;
  /** The one object; absent: all of the resource. */
  readonly name?: string;
}

/** Somebody as the API server knows them. */
export interface ClusterUser {
  /** As `system:serviceaccount:shop:web`. */
  readonly username: string;
  /** Unique over time, where its authenticator says one. */
  readonly uid?: string;
  /** As `system:serviceaccounts`. */
  readonly groups?: readonly string[];
  /** What else its authenticator says. */
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** The answer to "whose token is this?". */
export type TokenVerdict =
  | { readonly authenticated: true; readonly user: ClusterUser }
  | { readonly authenticated: false; readonly reason: string };

/** A right of somebody, as RBAC names it. */
export interface UserAccessRequest extends AccessRequest {
  /** Whose. */
  readonly user: ClusterUser;
}

/**
 * A place that holds objects and grants tokens.
 *
 * Every failing call throws a {@linkcode KrunError} whose message names object, namespace and krun's own identity, and
 * whose `transient` says whether the same call may succeed later. No call retries by itself but `follow`, which ends only
 * by its signal.
 */
export interface Cluster extends AsyncDisposable {
  /** Where it was found. */
  readonly source: ClusterSource;
  /** Undefined for a folder of manifests. */
  readonly endpoint: ApiEndpoint | undefined;
  /**
   * Reads one object; `undefined` when it does not exist.
   *
   * @throws {KrunError} `Forbidden`, `Unauthorized`, `ClusterUnreachable`, `CertificateInvalid`, `ApiRequestFailed`, `ManifestInvalid`.
   */
  get(ref: ObjectRef, options?: { signal?: AbortSignal }): Promise<WatchedObject | undefined>;
  /**
   * Reads an object of any kind, as it is; `undefined` when it, or its kind, does not exist. A folder of manifests has none but
   * those that `get` and `services` give.
   *
   * @throws as `get`.
   */
  resource(ref: ResourceRef, options?: { signal?: AbortSignal }): Promise<unknown>;
  /** Lists the Services of a namespace. @throws as `get`. */
  services(namespace: string, options?: { signal?: AbortSignal }): Promise<V1Service[]>;
  /** Follows one object until the signal aborts. Never throws for a failing server: it backs off and tries again. */
  follow(ref: ObjectRef, options: FollowOptions): Promise<void>;
  /**
   * Asks for a service account token.
   *
   * @throws {KrunError} as `get`, and `ServiceAccountNotFound`.
   */
  requestToken(ref: TokenRef, options?: { signal?: AbortSignal }): Promise<GrantedToken>;
  /** Whether krun's identity has a right (SelfSubjectAccessReview). A folder of manifests allows everything. */
  access(request: AccessRequest, options?: { signal?: AbortSignal }): Promise<AccessVerdict>;
  /**
   * Whose a token for an audience is (TokenReview). A folder of manifests knows nobody's.
   *
   * @throws as `get`; `Forbidden` where krun lacks the ClusterRole `system:auth-delegator`
   */
  reviewToken(token: string, options: { readonly audience: string; signal?: AbortSignal }): Promise<TokenVerdict>;
  /** Whether somebody has a right (SubjectAccessReview). A folder of manifests gives nobody any. @throws as `reviewToken` */
  accessOf(request: UserAccessRequest, options?: { signal?: AbortSignal }): Promise<AccessVerdict>;
  /** Requests made and failed so far, for the metrics. */
  readonly counts: { requests: number; errors: number };
}
