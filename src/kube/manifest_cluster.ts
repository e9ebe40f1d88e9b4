/**
 * A cluster without a server: a folder of manifests in, the same objects, changes and tokens out as from an API server.
 *
 * @module
 */
import type { V1Service } from "@kubernetes/client-node";
import type {
  AccessRequest,
  AccessVerdict,
  Cluster,
  ClusterSource,
  FollowOptions,
  FollowState,
  GrantedToken,
  ObjectRef,
  ResourceRef,
  TokenRef,
  TokenVerdict,
  UserAccessRequest,
  WatchedObject,
} from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { basename, dirname, join, resolve } from "../core/posix_path.ts";
import type { ManifestIndex } from "../core/manifests.ts";
import { watchFolder, type WatchFolderOptions } from "./folder_watch.ts";
import { type ManifestFolder, openManifestFolder } from "./manifest_folder.ts";
import { TokenIssuer } from "./token_issuer.ts";

/** Options of {@linkcode openManifestCluster}. */
export interface ManifestClusterOptions {
  /** krun's own folder, as `<base>/.krun`: the key that signs tokens is kept below it. Nothing is written before the first token. */
  readonly stateFolder: string;
  /** False: the key is not kept, and nothing is written at all. @default {true} */
  readonly keepKey?: boolean | undefined;
  readonly log: Logger;
  /** Milliseconds since the epoch. @default {Date.now} */
  readonly now?: () => number;
  /** How the folder is watched; for tests. */
  readonly watching?: Pick<WatchFolderOptions, "quietMs" | "pollMs" | "checkMs" | "watch">;
}

/**
 * Reads a folder of manifests and offers it as a cluster.
 *
 * The files are those directly in the folder that end in .yaml, .yml or .json. An object without `metadata.namespace` belongs
 * to the namespace that is asked for, as `kubectl apply -n` would put it there. Needs `--allow-read` for the folder.
 *
 * @throws {KrunError} `ManifestInvalid` when the folder or one of its files cannot be read; `SettingInvalid` when the state
 * folder is inside it, since the signing key must not come into a folder that may be in git.
 */
export async function openManifestCluster(path: string, options: ManifestClusterOptions): Promise<ManifestCluster> {
  const { log, now = Date.now } = options;
  const folder = await openManifestFolder(path, { log, now });
  await requireOutside(folder, options.stateFolder);
  return new ManifestCluster(folder, options);
}

/** A folder of manifests as a cluster. Edits are seen while it is followed. Made by {@linkcode openManifestCluster}. */
export class ManifestCluster implements Cluster {
  readonly source: ClusterSource;
  readonly endpoint = undefined;
  readonly counts = { requests: 0, errors: 0 };
  readonly #folder: ManifestFolder;
  readonly #issuer: TokenIssuer;
  readonly #options: ManifestClusterOptions;
  readonly #closing = new AbortController();
  #watching: Promise<void> | undefined;
  #state: StateReport = { state: "watching" };
  /** What the followers were last told of. */
  #seen: { index: ManifestIndex; faults: string };
  /** Settles when there is something new to look at; then there is a new one. */
  #news = Promise.withResolvers<void>();

  constructor(folder: ManifestFolder, options: ManifestClusterOptions) {
    this.#folder = folder;
    this.#options = options;
    this.#issuer = new TokenIssuer(options);
    this.#seen = seenOf(folder);
    const [namespace, ...more] = folder.index.namespaces;
    const implied = namespace !== undefined && more.length === 0;
    this.source = { kind: "manifests", where: folder.path, ...(implied ? { namespace } : {}) };
  }

  /** The public key of the tokens, once one was issued: `<stateFolder>/issuer/jwks.json`. */
  get jwksFile(): string {
    return this.#issuer.jwksFile;
  }

  get(ref: ObjectRef, { signal }: { signal?: AbortSignal } = {}): Promise<WatchedObject | undefined> {
    return this.#request(signal, () => this.#look(ref));
  }

  resource(ref: ResourceRef, { signal }: { signal?: AbortSignal } = {}): Promise<unknown> {
    const { apiGroup, resource, namespace, name } = ref;
    return this.#request(signal, () => {
      if (apiGroup !== "") return undefined;
      const services = resource === "services" ? this.#folder.index.services(namespace) : undefined;
      if (name === undefined) return services && { items: services };
      if (resource === "configmaps") return this.#folder.index.object({ kind: "ConfigMap", namespace, name });
      return services?.find(({ metadata }) => metadata?.name === name);
    });
  }

  services(namespace: string, { signal }: { signal?: AbortSignal } = {}): Promise<V1Service[]> {
    return this.#request(signal, () => this.#folder.index.services(namespace));
  }

  requestToken(ref: TokenRef, { signal }: { signal?: AbortSignal } = {}): Promise<GrantedToken> {
    return this.#request(signal, () => this.#issuer.issue(ref, this.#serviceAccountUid(ref)));
  }

  access(_request: AccessRequest, { signal }: { signal?: AbortSignal } = {}): Promise<AccessVerdict> {
    return this.#request(signal, () => ({ allowed: true, reason: "a folder of manifests allows everything" }));
  }

  reviewToken(_token: string, { signal }: { signal?: AbortSignal }): Promise<TokenVerdict> {
    const reason = "a folder of manifests knows nobody's tokens";
    return this.#request(signal, () => ({ authenticated: false, reason }));
  }

  accessOf(_request: UserAccessRequest, { signal }: { signal?: AbortSignal } = {}): Promise<AccessVerdict> {
    return this.#request(signal, () => ({ allowed: false, reason: "a folder of manifests gives nobody rights" }));
  }

  async follow(ref: ObjectRef, { signal, known, deliver, onState }: FollowOptions): Promise<void> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    this.#watching ??= this.#watch();
    // What is delivered first must not be older than what the caller has seen.
    await this.#refresh();
    let delivered = known === undefined ? undefined : versionOf(known ?? undefined);
    let told: StateReport | undefined;
    while (!ended.aborted) {
      // Taken before looking: news that come while the caller is busy must not be missed.
      const news = this.#news.promise;
      const { object, report } = this.#report(ref);
      if (report.state !== told?.state || report.reason?.message !== told.reason?.message) {
        told = report;
        onState?.(report.state, report.reason);
      }
      if (report.state !== "retrying" && versionOf(object) !== delivered) {
        delivered = versionOf(object);
        await deliver(object);
      }
      await settledOrAborted(news, ended);
    }
  }

  /** Ends every `follow`. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#watching;
  }

  async #request<T>(signal: AbortSignal | undefined, answer: () => T | Promise<T>): Promise<T> {
    this.counts.requests++;
    try {
      signal?.throwIfAborted();
      await this.#refresh();
      signal?.throwIfAborted();
      return await answer();
    } catch (error) {
      this.counts.errors++;
      throw error;
    }
  }

  /** Where something cannot be read, an object that is not found may be there all the same. */
  #look(ref: ObjectRef): WatchedObject | undefined {
    const object = this.#folder.index.object(ref);
    const [fault] = this.#folder.faults;
    if (object === undefined && fault !== undefined) throw fault;
    return object;
  }

  /** What a follower sees now; `retrying`: it cannot be told. */
  #report(ref: ObjectRef): { object?: WatchedObject | undefined; report: StateReport } {
    try {
      return { object: this.#look(ref), report: this.#state };
    } catch (error) {
      if (error instanceof KrunError) return { report: { state: "retrying", reason: error } };
      throw error;
    }
  }

  /** `undefined`: its manifest names none. */
  #serviceAccountUid({ namespace, serviceAccount }: TokenRef): string | undefined {
    const found = this.#folder.index.find("ServiceAccount", { namespace, name: serviceAccount });
    // A cluster makes a service account of this name in every namespace.
    if (found !== undefined || serviceAccount === "default") return found?.metadata?.uid;
    throw this.#folder.faults[0] ?? new KrunError(
      "ServiceAccountNotFound",
      `Cannot request token for service account "${namespace}/${serviceAccount}" from manifests "${this.source.where}": ` +
        "the folder has no such ServiceAccount",
      "add its manifest, or set WORKLOAD_SERVICE_ACCOUNT to one that the folder has",
    );
  }

  #watch(): Promise<void> {
    const { log, watching } = this.#options;
    const folder = this.#folder.absolutePath;
    return watchFolder(folder, {
      ...watching,
      signal: this.#closing.signal,
      onTick: () => this.#refresh(),
      onState: (state, reason) => {
        if (state === this.#state.state) return;
        this.#state = reason === undefined ? { state } : { state, reason };
        if (state === "polling") {
          log.warn("manifests folder cannot be watched, it is read again and again", {
            folder,
            reason: reason?.message,
          });
        }
        this.#tell();
      },
    });
  }

  async #refresh(): Promise<void> {
    await this.#folder.refresh();
    const seen = seenOf(this.#folder);
    if (seen.index === this.#seen.index && seen.faults === this.#seen.faults) return;
    this.#seen = seen;
    this.#tell();
  }

  /** Makes every `follow` look again. */
  #tell(): void {
    const { resolve } = this.#news;
    this.#news = Promise.withResolvers<void>();
    resolve();
  }
}

/** Links in either path play no part. @throws {KrunError} `SettingInvalid` */
async function requireOutside({ path, absolutePath }: ManifestFolder, stateFolder: string): Promise<void> {
  const [outer, inner] = await Promise.all([realPath(absolutePath), realPath(resolve(Deno.cwd(), stateFolder))]);
  if (inner !== outer && !inner.startsWith(outer === "/" ? outer : `${outer}/`)) return;
  throw new KrunError(
    "SettingInvalid",
    `Cannot use manifests "${path}": krun's own folder "${stateFolder}", with the key that signs tokens, would be inside it`,
    "set MESH_BASE_DIR to a folder outside the manifests",
  );
}

/** The path without links, also of what is not there yet; as it is where the runtime may not look, as below /dev. */
async function realPath(path: string): Promise<string> {
  try {
    return await Deno.realPath(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) || path === "/") return path;
    return join(await realPath(dirname(path)), basename(path));
  }
}

interface StateReport {
  readonly state: FollowState;
  readonly reason?: Error;
}

function seenOf({ index, faults }: ManifestFolder): { index: ManifestIndex; faults: string } {
  return { index, faults: faults.map((fault) => fault.message).join() };
}

/** Empty: there is no object. */
function versionOf(object: WatchedObject | undefined): string {
  return object?.metadata?.resourceVersion ?? "";
}

function settledOrAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise: either, resolve } = Promise.withResolvers<void>();
  const done = () => {
    signal.removeEventListener("abort", done);
    resolve();
  };
  signal.addEventListener("abort", done);
  void promise.then(done);
  return either;
}
