/**
 * Finds the cluster without a kubeconfig. In: settings, an account, a metadata server. Out: the address of one cluster, its CA, and
 * how krun proves itself there; and what to keep of it for the next start.
 *
 * Where it was found before, its address is tried while a token is fetched; only when what answers there is not that cluster any
 * more is it looked for again.
 *
 * @module
 */
import { answerLimitMs } from "../core/answer_limit.ts";
import { type CachedCluster, cacheKey, isSamePlace, parseCache, type Whereabouts } from "../core/cluster_cache.ts";
import type { ClusterConfig } from "../core/cluster_config.ts";
import { KrunError } from "../core/errors.ts";
import { missingText, missingWithoutMetadata, settingsMissing } from "../core/google_platform.ts";
import { type GoogleSettings, namesCluster } from "../core/google_settings.ts";
import { DEFAULT_SCOPES } from "../core/google_token.ts";
import type { Logger } from "../core/log.ts";
import type { ProxySettings } from "../core/proxy_choice.ts";
import type { ClusterFinder, FoundCluster } from "../kube/cluster_finder.ts";
import { openTransport } from "../kube/open_transport.ts";
import type { CallAnswer, WatchAnswer } from "../kube/transport.ts";
import type { GoogleAccount } from "./google_account.ts";
import { GoogleCredentials } from "./google_credentials.ts";
import type { GoogleTry } from "./google_http.ts";
import { type GooglePlace, lookUpCluster } from "./look_up_cluster.ts";
import type { MetadataServer } from "./metadata_server.ts";

/** How long a metadata server may take that nothing speaks for, milliseconds. It is a hop away, where there is one. */
const PROBE_MS = 50;
/** How long a cluster may take to answer at an address from before. */
const CACHED_MS = 3_000;

/**
 * What an API server is asked by somebody who does not say who he is. It answers 400, since no duration is called that, before it looks
 * at who asks (`WithRequestDeadline`): after any other answer to somebody unknown it closes the connection
 * (`UnauthenticatedHTTP2DOSMitigation`, since Kubernetes 1.29).
 */
const KNOCK = "/version?timeout=knock";

/** Options of {@linkcode GoogleClusters}. */
export interface GoogleClustersOptions {
  readonly settings: GoogleSettings;
  /** What says that this is Google Cloud: the metadata server is tried until the deadline. Unset: nothing does. */
  readonly sign: string | undefined;
  /** A setting says the namespace, or may. */
  readonly namesNamespace: boolean;
  /** Off Google Cloud it is an error that none does. @default {true} */
  readonly needsNamespace?: boolean;
  readonly account: GoogleAccount;
  readonly metadata: MetadataServer;
  /** Text of the file that a start before this one has kept. */
  readonly cached?: string | undefined;
  readonly log: Logger;
  /** Milliseconds since the epoch. 0: everything is tried once. */
  readonly deadlineMs: number;
  /** As in `ClusterRequest`. */
  readonly proxy?: ProxySettings | undefined;
  /** As in `ClusterRequest`. */
  readonly roots?: (() => Promise<readonly string[]>) | undefined;
}

/** The clusters of Google Cloud. */
export class GoogleClusters implements ClusterFinder {
  readonly name = "Google Cloud";
  readonly isNamed: boolean;
  /** What was looked up just now, to be kept. */
  toKeep: CachedCluster | undefined;
  readonly #options: GoogleClustersOptions;
  #probing: Promise<boolean> | undefined;

  constructor(options: GoogleClustersOptions) {
    this.#options = options;
    this.isNamed = namesCluster(options.settings) && !options.settings.off;
  }

  /** Begins to look for a metadata server, beside whatever else a start does. */
  begin(): void {
    const { sign, metadata, settings } = this.#options;
    if (sign === undefined && !settings.off) this.#probing ??= metadata.isThere(PROBE_MS);
  }

  async find({ signal }: { readonly signal?: AbortSignal | undefined }): Promise<FoundCluster | string> {
    const { settings, cached, namesNamespace, log } = this.#options;
    if (settings.off) return "left out by CLUSTER_NAME=-";
    const kept = parseCache(cached ?? "");
    if (kept === undefined || kept.key !== cacheKey(settings, namesNamespace)) return await this.#lookUp(signal);
    const found = await this.#tryKept(kept, signal);
    if (typeof found !== "string") return found;
    log.info("the cluster that was kept is looked up again", { server: kept.server, reason: found });
    return await this.#lookUp(signal);
  }

  async #lookUp(signal: AbortSignal | undefined): Promise<FoundCluster | string> {
    const { settings, account, namesNamespace, log, deadlineMs } = this.#options;
    const place = await this.#place({ signal, deadlineMs });
    if (typeof place === "string") return place;
    const found = await lookUpCluster(place, { ...this.#options, signal });
    if (typeof found === "string") return found;
    const { config } = found;
    const { source, server, refusesServiceAccounts } = config;
    const rule = source.chosenBy;
    log.info("cluster of Google Cloud found", { cluster: source.where, server, because: rule });
    const caPem = config.ca && "pem" in config.ca ? config.ca.pem : undefined;
    const whereabouts = { user: source.user, ownProject: place.ownProject, region: place.region };
    const key = cacheKey(settings, namesNamespace);
    if (!found.isPartial) this.toKeep = { key, whereabouts, server, caPem, refusesServiceAccounts, source };
    return { config, credentials: new GoogleCredentials(account) };
  }

  /** What is known of where krun runs; a text says why nothing is. @throws {KrunError} `GoogleSettingsMissing` */
  async #place(options: GoogleTry): Promise<GooglePlace | string> {
    const { settings, metadata } = this.#options;
    const { projectId, target } = settings;
    const targetProject = target?.kind === "project" ? target.project : target?.name.project;
    try {
      const found = await this.#whereabouts(options);
      if (found === undefined) {
        return this.#withoutMetadata(`no metadata server answers at ${metadata.address} within ${PROBE_MS} ms`);
      }
      const { ownProject, region } = found;
      const project = targetProject ?? projectId ?? ownProject;
      if (project === undefined) throw settingsMissing(["PROJECT_ID"], "the metadata server names no project");
      return { project, ownProject, region };
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!this.#isAway(error)) throw error;
      return this.#withoutMetadata((error as KrunError).message);
    }
  }

  /** What the metadata server says of the machine; `undefined`: there is none. */
  async #whereabouts(options: GoogleTry): Promise<Whereabouts | undefined> {
    const { settings: { target, location }, metadata, account, sign } = this.#options;
    const isThere = sign !== undefined || await (this.#probing ?? metadata.isThere(PROBE_MS, options.signal));
    if (!isThere) return undefined;
    // All at once: the account's token and name are needed next.
    const [ownProject, region, user] = await Promise.all([
      metadata.projectId(options),
      location === undefined && target?.kind !== "cluster" ? metadata.region(options) : undefined,
      account.email(options),
      account.accessToken(DEFAULT_SCOPES, options),
    ]);
    return { ownProject, region, user };
  }

  /** There is none after all, and credentials that do without. */
  #isAway(error: unknown): boolean {
    const isTold = error instanceof KrunError && error.transient && error.code === "GoogleCredentialsUnavailable";
    return isTold && this.#options.settings.credentialsFile !== undefined;
  }

  #withoutMetadata(state: string): GooglePlace | string {
    const { settings, namesNamespace, needsNamespace = true } = this.#options;
    const { projectId, target, credentialsFile, location } = settings;
    const missing = missingWithoutMetadata(settings, { namesNamespace: namesNamespace || !needsNamespace });
    if (missing.length === 0) {
      const project = target?.kind === "project" ? target.project : target?.name.project ?? projectId!;
      return { project, ownProject: undefined, region: undefined };
    }
    if (this.isNamed || credentialsFile !== undefined) throw settingsMissing(missing, state);
    // A project may be the program's own concern: what was tried besides is told too.
    if (projectId !== undefined || location !== undefined) return missingText(missing, state);
    return `${state}, and no setting speaks of Google Cloud`;
  }

  /** The cluster of before, if it is there; else why it is not. */
  async #tryKept(kept: CachedCluster, signal: AbortSignal | undefined): Promise<FoundCluster | string> {
    const { account, deadlineMs, log } = this.#options;
    const config: ClusterConfig = {
      source: { ...kept.source, isCached: true },
      server: kept.server,
      ca: kept.caPem === undefined ? undefined : { pem: kept.caPem },
      ...(kept.refusesServiceAccounts !== undefined && { refusesServiceAccounts: kept.refusesServiceAccounts }),
      user: {},
    };
    const opened = await openTransport(config, this.#options);
    const credentials = new GoogleCredentials(account);
    const place = this.#placeNow({ signal, deadlineMs });
    place.catch(() => {}); // Heard below.
    try {
      // A cluster with a CA of its own shows by its certificate that it is the same; a name of Google's says nothing without a token.
      const headers = kept.caPem === undefined ? (await credentials.current(signal)).headers : [];
      const timeoutMs = answerLimitMs(CACHED_MS, { deadlineMs, nowMs: Date.now() });
      const call = { method: "GET", headers, certificate: undefined, timeoutMs, signal } as const;
      // Watches have a connection of their own: it is made beside this one, not after it.
      const path = kept.caPem === undefined ? "/version" : KNOCK;
      opened.transport.watch(path, { ...call, silenceMs: timeoutMs }).then(discard).catch(() => {});
      const { status } = await opened.transport.call(path, call);
      if (kept.caPem === undefined && status !== 200) throw new Error(`it answers ${status}`);
      if (!isSamePlace(kept.whereabouts, await place)) throw new Error("krun is another account, or elsewhere");
    } catch (error) {
      await opened.transport[Symbol.asyncDispose]();
      signal?.throwIfAborted();
      if (error instanceof KrunError) throw error;
      return error instanceof Error ? error.message : String(error);
    }
    log.debug("cluster of Google Cloud is where it was", { cluster: kept.source.where, server: kept.server });
    return { config, credentials, opened };
  }

  /** As when the cluster was found. The token that is needed next is fetched beside it. */
  async #placeNow(options: GoogleTry): Promise<Whereabouts> {
    const { account } = this.#options;
    const found = await this.#whereabouts(options).catch((error) => {
      if (!this.#isAway(error)) throw error;
      return undefined;
    });
    if (found !== undefined) return found;
    const [user] = await Promise.all([account.email(options), account.accessToken(DEFAULT_SCOPES, options)]);
    return { user, ownProject: undefined, region: undefined };
  }
}

/** Reads an answer that nobody needs to its end, so that its connection is free for the next request. */
async function discard(answer: WatchAnswer | CallAnswer): Promise<void> {
  if (!("chunks" in answer)) return;
  try {
    for await (const _ of answer.chunks);
  } finally {
    answer.close();
  }
}
