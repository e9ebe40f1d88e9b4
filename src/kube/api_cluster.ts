/**
 * A kube-apiserver as a {@linkcode Cluster}: reads, watches, token requests and access reviews by its REST API.
 *
 * @module
 */
import type {
  V1SelfSubjectAccessReview,
  V1Service,
  V1ServiceList,
  V1SubjectAccessReview,
  V1TokenReview,
} from "@kubernetes/client-node";
import type { AuthenticationV1TokenRequest } from "@kubernetes/client-node";
import type {
  AccessRequest,
  AccessVerdict,
  ApiEndpoint,
  Cluster,
  ClusterSource,
  FollowOptions,
  GrantedToken,
  ObjectKind,
  ObjectRef,
  ResourceRef,
  TokenRef,
  TokenVerdict,
  UserAccessRequest,
  WatchedObject,
} from "../core/cluster.ts";
import type { ClusterConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import type { FileReader } from "../core/file_reader.ts";
import type { Logger } from "../core/log.ts";
import type { ProxySettings } from "../core/proxy_choice.ts";
import { ApiClient } from "./api_client.ts";
import type { ApiOperation } from "./api_error.ts";
import type { FoundCluster } from "./cluster_finder.ts";
import type { Credentials } from "./credentials.ts";
import { openCredentials } from "./open_credentials.ts";
import { openTransport } from "./open_transport.ts";
import { followObject, type FollowTiming, type OpenWatch, type WatchSource } from "./watch.ts";

/** Options of {@linkcode openApiCluster}. Times are milliseconds. */
export interface ApiClusterOptions {
  /** Where events of the cluster go: an outage, a watch that is not allowed. */
  readonly log: Logger;
  /** Proxies of krun's environment. A `proxy-url` of the kubeconfig wins. @default {none} */
  readonly proxy?: ProxySettings | undefined;
  /** CAs for a server whose CA nobody gives, and for the issuer of an OIDC user. @default {Deno's own} */
  readonly roots?: (() => Promise<readonly string[]>) | undefined;
  /** Reads the files that the config names. @default {Deno's} */
  readonly files?: FileReader | undefined;
  /** Environment of a credential plugin. @default {krun's own} */
  readonly pluginEnv?: Readonly<Record<string, string>> | undefined;
  /** krun's own, in place of the config's user. @default {as the config says} */
  readonly credentials?: Credentials | undefined;
  /** A way to the server that is open already. @default {one is made} */
  readonly opened?: FoundCluster["opened"];
  /** What one call may take. @default {20_000} */
  readonly callTimeoutMs?: number | undefined;
  /** How following waits. */
  readonly timing?: ApiTiming | undefined;
}

/** Times of watches, milliseconds. */
export interface ApiTiming extends FollowTiming {
  /**
   * Longest time without a byte on a watch before its connection is given up: how old files may get when a connection
   * swallows what is sent. kube-apiserver sends a bookmark a minute. @default {75_000}
   */
  readonly silenceMs?: number;
  /**
   * Shortest time after which the server is asked to end a watch, so that it is opened anew; up to twice as long by chance.
   * As in client-go, watches that were opened together do not end together. @default {300_000}
   */
  readonly watchMs?: number;
}

/**
 * Opens a cluster. Asks the server nothing, and runs no plugin: that is part of the first request. Needs `--allow-net` for the
 * server, `--allow-read` for the files that the config names, and `--allow-run` for an exec plugin.
 *
 * @throws {KrunError} `KubeconfigInvalid`, `CredentialsUnavailable` when the CA cannot be read, `RuntimeTooOld`
 */
export async function openApiCluster(config: ClusterConfig, options: ApiClusterOptions): Promise<ApiCluster> {
  const lifetime = new AbortController();
  const { log, pluginEnv: env, proxy, roots, files } = options;
  const { transport, endpoint } = options.opened ?? await openTransport(config, options);
  const credentials = options.credentials ??
    await openCredentials(config, { log, env, proxy, roots, files, lifetime: lifetime.signal });
  const { server, source } = config;
  const { callTimeoutMs, timing } = options;
  const client = new ApiClient({
    transport,
    credentials,
    log,
    server,
    source,
    proxyUrl: endpoint.proxyUrl,
    trustsMachine: endpoint.caPem === undefined,
    lifetime: lifetime.signal,
    callTimeoutMs,
    retryMs: timing?.retryMs,
  });
  return new ApiCluster({ client, source, endpoint, log, timing, lifetime });
}

/** Parts of an {@linkcode ApiCluster}. */
export interface ApiClusterParts {
  readonly client: ApiClient;
  readonly source: ClusterSource;
  readonly endpoint: ApiEndpoint;
  readonly log: Logger;
  readonly timing: ApiTiming | undefined;
  /** Aborted when the cluster is disposed. */
  readonly lifetime: AbortController;
}

const RESOURCES: Readonly<Record<ObjectKind, string>> = { Secret: "secrets", ConfigMap: "configmaps" };

/** A kube-apiserver. Made by {@linkcode openApiCluster}; disposing it closes its connections. */
export class ApiCluster implements Cluster {
  readonly source: ClusterSource;
  readonly endpoint: ApiEndpoint;
  readonly #parts: ApiClusterParts;
  /** Whether the server can send the present state first and mark its end (WatchList: on since Kubernetes 1.32). */
  #marksInitialEnd = true;
  readonly #saidPolling = new Set<string>();

  constructor(parts: ApiClusterParts) {
    this.#parts = parts;
    this.source = parts.source;
    this.endpoint = parts.endpoint;
  }

  get counts(): { requests: number; errors: number } {
    return this.#parts.client.counts;
  }

  async get(ref: ObjectRef, { signal }: { signal?: AbortSignal } = {}): Promise<WatchedObject | undefined> {
    const path = objectPath(ref.namespace, RESOURCES[ref.kind], ref.name);
    return await this.#parts.client.call<WatchedObject>({ ...readOperation(ref), path, signal }, { absent: true });
  }

  async resource(ref: ResourceRef, { signal }: { signal?: AbortSignal } = {}): Promise<unknown> {
    const { apiGroup, version, resource, namespace, name, otherwise } = ref;
    const operation: ApiOperation = {
      what: name === undefined
        ? `list ${resource} of namespace "${namespace}"`
        : `read ${resource} "${namespace}/${name}"`,
      access: { namespace, verbs: [name === undefined ? "list" : "get"], apiGroup, resource, name },
      ...(otherwise !== undefined && { otherwise }),
    };
    const root = apiGroup === "" ? `/api/${version}` : `/apis/${apiGroup}/${version}`;
    const rest = name === undefined ? "" : `/${encodeURIComponent(name)}`;
    const path = `${root}/namespaces/${encodeURIComponent(namespace)}/${resource}${rest}`;
    return await this.#parts.client.call<unknown>({ ...operation, path, signal }, { absent: true });
  }

  async services(namespace: string, { signal }: { signal?: AbortSignal } = {}): Promise<V1Service[]> {
    const access = { namespace, verbs: ["list"], apiGroup: "", resource: "services" };
    const what = `list Services of namespace "${namespace}"`;
    const otherwise = "go without their variables: KRUN_SERVICE_LINKS=false, or enableServiceLinks: false in the Pod";
    const path = objectPath(namespace, "services");
    return (await this.#parts.client.call<V1ServiceList>({ what, access, otherwise, path, signal }))?.items ?? [];
  }

  async follow(ref: ObjectRef, options: FollowOptions): Promise<void> {
    await followObject(this.#watchSource(ref), {
      ...options,
      timing: this.#parts.timing,
      onState: (state, reason) => {
        if (state === "polling") this.#sayPolling(ref, reason);
        options.onState?.(state, reason);
      },
    });
  }

  async requestToken(ref: TokenRef, { signal }: { signal?: AbortSignal } = {}): Promise<GrantedToken> {
    const { namespace, serviceAccount, audience, expirationSeconds } = ref;
    const access = {
      namespace,
      verbs: ["create"],
      apiGroup: "",
      resource: "serviceaccounts/token",
      name: serviceAccount,
    };
    const what = `request token for service account "${namespace}/${serviceAccount}"`;
    const path = `${objectPath(namespace, "serviceaccounts", serviceAccount)}/token`;
    const spec = { audiences: audience === "" ? [] : [audience], expirationSeconds };
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec };
    const answer = await this.#parts.client.call<AuthenticationV1TokenRequest>({ what, access, path, body, signal });
    return grantedToken(answer, what, this.endpoint.server);
  }

  async access(request: AccessRequest, { signal }: { signal?: AbortSignal } = {}): Promise<AccessVerdict> {
    const { verb, namespace, name } = request;
    const [resource, subresource] = request.resource.split("/");
    const resourceAttributes = { verb, namespace, resource, subresource, name, group: "" };
    const body = {
      apiVersion: "authorization.k8s.io/v1",
      kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes },
    };
    const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    const what = `ask for access to ${request.resource} in namespace "${namespace}"`;
    try {
      const review = await this.#parts.client.call<V1SelfSubjectAccessReview>({ what, path, body, signal });
      return { allowed: review?.status?.allowed ?? false, reason: review?.status?.reason ?? "" };
    } catch (error) {
      // A server that has no such review, or does not let us ask, leaves the answer open; an unreachable one is a failure.
      if (!(error instanceof KrunError) || !["Forbidden", "ApiRequestFailed"].includes(error.code)) throw error;
      return { allowed: false, reason: error.message };
    }
  }

  async reviewToken(
    token: string,
    { audience, signal }: { readonly audience: string; signal?: AbortSignal },
  ): Promise<TokenVerdict> {
    const spec = { token, audiences: [audience] };
    const path = "/apis/authentication.k8s.io/v1/tokenreviews";
    const what = `review a token of audience "${audience}"`;
    const body = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec };
    const review = await this.#parts.client.call<V1TokenReview>({ what, clusterRole: DELEGATOR, path, body, signal });
    const { authenticated, audiences, user, error } = review?.status ?? {};
    const username = user?.username;
    // An authenticator that knows no audiences leaves the list out, and would take a token that is meant for another.
    if (authenticated && username && audiences?.includes(audience)) {
      const { uid, groups, extra } = user;
      return {
        authenticated: true,
        user: { username, ...(uid && { uid }), ...(groups && { groups }), ...(extra && { extra }) },
      };
    }
    return { authenticated: false, reason: error ?? `it is no token of audience "${audience}"` };
  }

  async accessOf(
    { user, verb, namespace, name, resource: whole }: UserAccessRequest,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<AccessVerdict> {
    const [resource, subresource] = whole.split("/");
    const { username, uid, groups, extra } = user;
    const resourceAttributes = { verb, namespace, resource, subresource, name, group: "" };
    const spec = { user: username, uid, groups, extra, resourceAttributes };
    const path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    const what = `ask for access of "${username}" to ${whole} in namespace "${namespace}"`;
    const body = { apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec };
    const call = { what, clusterRole: DELEGATOR, path, body, signal };
    const { allowed, reason } = (await this.#parts.client.call<V1SubjectAccessReview>(call))?.status ?? {};
    return { allowed: allowed ?? false, reason: reason ?? "" };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#parts.lifetime.abort();
    await this.#parts.client[Symbol.asyncDispose]();
  }

  #watchSource(ref: ObjectRef): WatchSource {
    const operation = watchOperation(ref);
    return {
      read: (signal) => this.get(ref, { signal }),
      watch: (resourceVersion, signal) => this.#openWatch(ref, { resourceVersion, signal, operation }),
      reached: (signal) => this.#parts.client.reached(signal),
      failure: (failure) => this.#parts.client.eventError(operation, failure),
    };
  }

  async #openWatch(ref: ObjectRef, { resourceVersion, signal, operation }: WatchAt): Promise<OpenWatch> {
    const { client, timing } = this.#parts;
    const { silenceMs = 75_000, watchMs = 300_000, chance = Math.random } = timing ?? {};
    const timeoutSeconds = Math.ceil(watchMs * (1 + chance()) / 1000);
    for (;;) {
      const marksInitialEnd = this.#marksInitialEnd;
      const query = watchQuery(ref, { resourceVersion, initialEvents: marksInitialEnd, timeoutSeconds });
      const path = `${objectPath(ref.namespace, RESOURCES[ref.kind])}?${query}`;
      const opened = await client.watch({ ...operation, path, signal, silenceMs });
      if (opened) return { ...opened, marksInitialEnd, lastsMs: timeoutSeconds * 1000 };
      if (!marksInitialEnd) throw client.eventError(operation, NOT_WATCHABLE);
      this.#marksInitialEnd = false;
    }
  }

  #sayPolling({ namespace, kind }: ObjectRef, reason: Error | undefined): void {
    const place = `${namespace}/${kind}`;
    if (this.#saidPolling.has(place)) return;
    this.#saidPolling.add(place);
    const everySeconds = (this.#parts.timing?.pollMs ?? 60_000) / 1000;
    this.#parts.log.warn("watching is not allowed, so objects are read again from time to time", {
      kind,
      namespace,
      everySeconds,
      reason: reason?.message,
    });
  }
}

interface WatchAt {
  readonly resourceVersion: string | undefined;
  readonly signal: AbortSignal;
  readonly operation: ApiOperation;
}

/** May create TokenReviews and SubjectAccessReviews, and nothing else. */
const DELEGATOR = "system:auth-delegator";

const NOT_WATCHABLE = { code: 422, message: "it refuses the parameters of a watch", retryAfterSeconds: undefined };

function readOperation({ kind, namespace, name }: ObjectRef): ApiOperation {
  const access = { namespace, verbs: ["get", "watch"], apiGroup: "", resource: RESOURCES[kind], name };
  return { what: `read ${kind} "${namespace}/${name}"`, access };
}

function watchOperation({ kind, namespace, name }: ObjectRef): ApiOperation {
  const access = { namespace, verbs: ["watch", "get"], apiGroup: "", resource: RESOURCES[kind], name };
  return { what: `watch ${kind} "${namespace}/${name}"`, access };
}

function objectPath(namespace: string, resource: string, name?: string): string {
  const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/${resource}`;
  return name === undefined ? path : `${path}/${encodeURIComponent(name)}`;
}

/** RBAC lets a rule with resourceNames watch only with the field selector of that name. */
function watchQuery(
  { name }: ObjectRef,
  { resourceVersion, initialEvents, timeoutSeconds }: {
    resourceVersion: string | undefined;
    initialEvents: boolean;
    timeoutSeconds: number;
  },
): URLSearchParams {
  const query = new URLSearchParams({
    watch: "true",
    fieldSelector: `metadata.name=${name}`,
    allowWatchBookmarks: "true",
    timeoutSeconds: String(timeoutSeconds),
  });
  if (resourceVersion !== undefined) query.set("resourceVersion", resourceVersion);
  else if (initialEvents) {
    query.set("sendInitialEvents", "true");
    query.set("resourceVersionMatch", "NotOlderThan");
  }
  return query;
}

/** The life that was granted, by the server's clock (the JWT's own `exp` may be a year ahead, KEP-1205). */
function grantedToken(answer: AuthenticationV1TokenRequest | undefined, what: string, server: string): GrantedToken {
  const { token, expirationTimestamp } = answer?.status ?? {};
  const seconds = answer?.spec?.expirationSeconds;
  const expiresAtMs = Date.parse(String(expirationTimestamp));
  if (!token || seconds === undefined || Number.isNaN(expiresAtMs)) {
    const hint = "check that the address is that of an API server";
    throw new KrunError("ApiRequestFailed", `Cannot ${what} at ${server}: the answer holds no token`, hint);
  }
  return { token, issuedAtMs: expiresAtMs - seconds * 1000, expiresAtMs };
}
