/**
 * Google Cloud, loaded when a start first needs it: 5 ms and its memory, which most starts can do without.
 *
 * @module
 */
import type { CachedCluster } from "../core/cluster_cache.ts";
import { CLUSTER_CACHE } from "../core/cluster_cache.ts";
import { namesCluster } from "../core/google_settings.ts";
import type { GoogleTokens } from "../core/google_token.ts";
import { join } from "../core/posix_path.ts";
import type { GoogleClusters } from "../gcp/google_clusters.ts";
import type { ClusterFinder } from "../kube/cluster_finder.ts";
import type { GoogleCloud, GoogleCloudOptions, ProgramIdentity } from "./google_cloud.ts";
import { keptText } from "./kept_file.ts";
import type { Surroundings } from "./surroundings.ts";

/** How long Cloud Run's id of the instance may take: nothing but a name depends on it. Milliseconds. */
const INSTANCE_ID_MS = 1_000;

/** One for each start. Disposing it closes connections. */
export class LazyGoogle implements AsyncDisposable {
  readonly #outer: Surroundings;
  readonly #options: GoogleCloudOptions;
  #cloud: Promise<GoogleCloud> | undefined;

  constructor(outer: Surroundings, options: GoogleCloudOptions) {
    this.#outer = outer;
    this.#options = options;
  }

  /** Google Cloud itself. */
  readonly cloud = (): Promise<GoogleCloud> => {
    return this.#cloud ??= import("./google_cloud.ts").then(({ GoogleCloud }) => {
      return new GoogleCloud(this.#outer, this.#options);
    });
  };

  /**
   * Where `findCluster` looks; `undefined` where nothing asks for a cluster, or a setting says that it is another one. Where
   * CLUSTER_NAME says that none is to be looked for, that is what it answers.
   *
   * @param stateFolder of a start before this one
   * @param options whether it is an error that nothing says the workload's namespace
   */
  search(stateFolder: string, { needsNamespace = true } = {}): GoogleSearch | undefined {
    const { settings } = this.#options;
    const { cluster: { manifests, kubeconfig, context, home, serviceHost }, google, cloudRun, clusterAskedBy } =
      settings;
    const isElsewhere = manifests !== undefined || kubeconfig !== undefined || context !== undefined;
    if (isElsewhere || clusterAskedBy.length === 0 && !cloudRun) return undefined;
    const load = async () => {
      // It says where krun's token goes.
      const cached = keptText(join(stateFolder, CLUSTER_CACHE), this.#outer.self.uid);
      return (await this.cloud()).clusters({ cached, needsNamespace });
    };
    const search = new GoogleSearch(namesCluster(google) && !google.off, load);
    if (google.off) return search;
    // What is nearer would be taken: then nobody need look so far.
    if (search.isNamed || serviceHost === undefined && !isFile(join(home ?? "/", ".kube", "config"))) search.begin();
    return search;
  }

  /** The id that Cloud Run gives this instance; `undefined` elsewhere, and where it cannot be had. Never throws. */
  async instanceId(signal: AbortSignal | undefined): Promise<string | undefined> {
    if (this.#options.settings.platform === undefined) return undefined;
    const limit = AbortSignal.timeout(INSTANCE_ID_MS);
    const { metadata } = await this.cloud();
    return await metadata.get("instance/id", { signal: signal ? AbortSignal.any([signal, limit]) : limit })
      .catch(() => undefined);
  }

  /** The program's tokens. */
  tokens(program: ProgramIdentity): GoogleTokens {
    return {
      grant: async (request, options) => await (await this.cloud()).programAccount(program).grant(request, options),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#cloud)?.[Symbol.asyncDispose]();
  }
}

/** Looks for the cluster, and remembers what is to be kept. */
export class GoogleSearch implements ClusterFinder {
  readonly name = "Google Cloud";
  readonly isNamed: boolean;
  readonly #load: () => Promise<GoogleClusters>;
  #clusters: Promise<GoogleClusters> | undefined;
  #found: GoogleClusters | undefined;
  #isNone = false;

  /** @param load at the first use */
  constructor(isNamed: boolean, load: () => Promise<GoogleClusters>) {
    this.isNamed = isNamed;
    this.#load = load;
  }

  /** Begins, beside whatever else a start does. */
  begin(): void {
    this.#loaded().then((clusters) => clusters.begin()).catch(() => {}); // find() hears it.
  }

  async find(options: { readonly signal?: AbortSignal | undefined }) {
    this.#found = await this.#loaded();
    const found = await this.#found.find(options);
    this.#isNone = typeof found === "string";
    return found;
  }

  /** It was looked, and there is none. */
  get isNone(): boolean {
    return this.#isNone;
  }

  /** What was looked up just now. */
  get toKeep(): CachedCluster | undefined {
    return this.#found?.toKeep;
  }

  #loaded(): Promise<GoogleClusters> {
    return this.#clusters ??= this.#load();
  }
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}
