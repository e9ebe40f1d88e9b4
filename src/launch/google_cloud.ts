/**
 * Google Cloud for a start: the cluster that is looked for there, krun's own account, and the program's. Loaded by those starts alone
 * that need any of it.
 *
 * Whoever needs another Google API takes `account.json(...)` of it, or `programAccount(...)`: tokens, retries and words are theirs.
 *
 * @module
 */
import type { Cluster } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { googleSign } from "../core/google_platform.ts";
import { isServiceAccountEmail } from "../core/google_settings.ts";
import type { GoogleTokenRequest } from "../core/google_token.ts";
import type { Identity } from "../core/identity.ts";
import type { Logger } from "../core/log.ts";
import { resolve } from "../core/posix_path.ts";
import { proxySettings } from "../core/proxy_choice.ts";
import type { Settings } from "../core/settings.ts";
import {
  FederatedAccount,
  ImpersonatedAccount,
  type ImpersonatedAccountOptions,
  WORKLOAD_USER,
} from "../gcp/federated_account.ts";
import { FileAccount } from "../gcp/file_account.ts";
import { GoogleAccount } from "../gcp/google_account.ts";
import { GoogleClusters } from "../gcp/google_clusters.ts";
import { GoogleHttp, type GoogleTry } from "../gcp/google_http.ts";
import { MetadataAccount } from "../gcp/metadata_account.ts";
import { MetadataServer } from "../gcp/metadata_server.ts";
import { machineRoots } from "../kube/machine_roots.ts";
import { anyFile } from "../pod/special_files.ts";
import type { Surroundings } from "./surroundings.ts";

/** Options of {@linkcode GoogleCloud}. */
export interface GoogleCloudOptions {
  readonly settings: Settings;
  readonly log: Logger;
  /** What may answer later is tried until then, milliseconds since the epoch. 0: everything is tried once. */
  readonly deadlineMs: number;
}

/** Whose Google account the program's is. */
export interface ProgramIdentity {
  readonly cluster: Cluster | undefined;
  readonly identity: Identity;
}

/** As whom the program meets Google, for a person. */
export interface ProgramName {
  /** E-mail address, or what else IAM calls it. */
  readonly name: string;
  readonly because: string;
}

/** Google Cloud, as one start meets it. Disposing it closes its connections. */
export class GoogleCloud implements AsyncDisposable {
  readonly metadata: MetadataServer;
  readonly http: GoogleHttp;
  /** krun's own. */
  readonly account: GoogleAccount;
  /** What says that this is Google Cloud. */
  readonly sign: string | undefined;
  readonly #outer: Surroundings;
  readonly #options: GoogleCloudOptions;
  /** Of GOOGLE_APPLICATION_CREDENTIALS. */
  readonly #file: FileAccount | undefined;
  #ofProgram: GoogleAccount | undefined;

  constructor(outer: Surroundings, options: GoogleCloudOptions) {
    const { settings: { google, cluster, workload, cloudRun } } = options;
    this.#outer = outer;
    this.#options = options;
    this.sign = googleSign({
      settings: { google, workload, cloudRun },
      isInPod: cluster.serviceHost !== undefined,
      product: productName(),
    });
    this.metadata = new MetadataServer({ host: google.metadataHost, isExpected: this.sign !== undefined });
    this.http = new GoogleHttp({ roots: () => machineRoots(cluster.certFile), proxy: proxySettings(outer.env) });
    const file = google.credentialsFile;
    this.#file = file === undefined
      ? undefined
      : new FileAccount({ file: resolve(outer.cwd, file), http: this.http, files: anyFile });
    this.account = new GoogleAccount(this.#file ?? new MetadataAccount(this.metadata), { http: this.http });
  }

  /**
   * Where the cluster is looked for.
   *
   * @param options text of the file that a start before this one has kept; whether a namespace must be known
   */
  clusters({ cached, needsNamespace }: { cached: string | undefined; needsNamespace: boolean }): GoogleClusters {
    const { settings: { google, workload, podFile, cluster }, log, deadlineMs } = this.#options;
    return new GoogleClusters({
      settings: google,
      sign: this.sign,
      namesNamespace: [workload.namespace, workload.service, podFile].some((name) => name !== undefined),
      needsNamespace,
      account: this.account,
      metadata: this.metadata,
      cached,
      log,
      deadlineMs,
      proxy: proxySettings(this.#outer.env),
      roots: () => machineRoots(cluster.certFile),
    });
  }

  /**
   * The program's Google tokens.
   *
   * @throws {KrunError} `GoogleSettingsMissing` when it is to act as its service account, and nothing says who believes that
   */
  programAccount(program: ProgramIdentity): GoogleAccount {
    return this.#ofProgram ??= this.#programAccount(program);
  }

  /** As whom the program meets Google, and why. @throws as {@linkcode GoogleCloud.programAccount}, and asking for its name */
  async programName(program: ProgramIdentity): Promise<ProgramName> {
    const account = this.programAccount(program);
    const email = await account.email();
    const { account: wish } = this.#options.settings.google;
    const name = email ?? account.member ?? account.describe;
    if (wish?.kind === "platform" || wish?.kind === "email") return { name, because: "KRUN_GOOGLE_ACCOUNT" };
    if (account === this.account) {
      const state = program.cluster === undefined ? "there is no cluster" : "the cluster has no workload identity pool";
      return { name, because: `krun's own: ${state}` };
    }
    const serviceAccount = `service account ${program.identity.serviceAccount.value}`;
    return email === undefined
      ? { name, because: `${serviceAccount}, which has no annotation ${ANNOTATION}` }
      : { name, because: `annotation ${ANNOTATION} of ${serviceAccount}` };
  }

  /** The project that GOOGLE_APPLICATION_CREDENTIALS are of; `undefined` where nothing says it. @throws as reading them */
  async credentialsProject(): Promise<string | undefined> {
    return await this.#file?.project();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.http[Symbol.asyncDispose]();
  }

  #programAccount({ cluster, identity }: ProgramIdentity): GoogleAccount {
    const { http } = this;
    const { account: wish, workloadProvider } = this.#options.settings.google;
    const provider = workloadProvider ?? cluster?.source.workloadProvider;
    if (wish?.kind === "platform" || wish?.kind !== "workload" && provider === undefined) {
      return wish?.kind === "email" ? this.#standingFor(wish.email, { through: this.account }) : this.account;
    }
    if (cluster === undefined || provider === undefined) throw noProvider(cluster);
    const namespace = identity.namespace.value;
    const serviceAccount = identity.serviceAccount.value;
    const federated = new GoogleAccount(
      new FederatedAccount({
        http,
        provider,
        subject: `${namespace}/${serviceAccount}`,
        async subjectToken(audience, { signal }) {
          const ref = { namespace, serviceAccount, audience, expirationSeconds: SUBJECT_SECONDS };
          return (await cluster.requestToken(ref, signal ? { signal } : {})).token;
        },
      }),
      { http },
    );
    if (wish?.kind === "email") return this.#standingFor(wish.email, { through: federated, role: WORKLOAD_USER });
    return new GoogleAccount(new AnnotatedAccount({ federated, http, cluster, namespace, serviceAccount }), { http });
  }

  #standingFor(email: string, options: ImpersonatedAccountOptions): GoogleAccount {
    return new GoogleAccount(new ImpersonatedAccount(email, options), { http: this.http });
  }
}

/** Life of the token that is shown to Google: it is used at once. */
const SUBJECT_SECONDS = 600;

/** By it GKE lets a Kubernetes service account stand for a Google one. */
const ANNOTATION = "iam.gke.io/gcp-service-account";

/** Options of {@linkcode AnnotatedAccount}. */
interface AnnotatedAccountOptions {
  readonly federated: GoogleAccount;
  readonly http: GoogleHttp;
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** The Google service account that a Kubernetes one is annotated with, else the federated identity itself. */
class AnnotatedAccount {
  readonly #options: AnnotatedAccountOptions;
  #account: Promise<GoogleAccount> | undefined;

  constructor(options: AnnotatedAccountOptions) {
    this.#options = options;
  }

  get describe(): string {
    return this.#options.federated.describe;
  }

  get member(): string | undefined {
    return this.#options.federated.member;
  }

  async token(request: GoogleTokenRequest, options: GoogleTry) {
    return await (await this.#meant(options)).token(request, options);
  }

  async email(options: GoogleTry) {
    return await (await this.#meant(options)).email(options);
  }

  /** A failure is not kept. */
  #meant(options: GoogleTry): Promise<GoogleAccount> {
    return this.#account ??= this.#read(options).catch((error) => {
      this.#account = undefined;
      throw error;
    });
  }

  async #read({ signal }: GoogleTry): Promise<GoogleAccount> {
    const { federated, http, cluster, namespace, serviceAccount: name } = this.#options;
    const ref = { apiGroup: "", version: "v1", resource: "serviceaccounts", namespace, name };
    const otherwise = "set KRUN_GOOGLE_ACCOUNT to the Google service account that it stands for, or to platform";
    const object = await cluster.resource({ ...ref, otherwise }, signal ? { signal } : {});
    const { metadata } = (object ?? {}) as { metadata?: { annotations?: Readonly<Record<string, string>> } };
    const email = metadata?.annotations?.[ANNOTATION];
    if (email === undefined || email === "") return federated;
    if (isServiceAccountEmail(email)) {
      const options = { through: federated, role: WORKLOAD_USER };
      return new GoogleAccount(new ImpersonatedAccount(email, options), { http });
    }
    throw new KrunError(
      "GoogleSettingsMissing",
      `Cannot use annotation ${ANNOTATION} of service account "${namespace}/${name}": it is no Google service account`,
      "correct it, or set KRUN_GOOGLE_ACCOUNT",
    );
  }
}

function noProvider(cluster: Cluster | undefined): KrunError {
  const state = cluster === undefined ? "there is no cluster" : "nobody at Google believes this cluster's tokens";
  return new KrunError(
    "GoogleSettingsMissing",
    `Cannot get Google tokens for the workload's service account: ${state}`,
    "set KRUN_WORKLOAD_PROVIDER, or KRUN_GOOGLE_ACCOUNT=platform",
  );
}

/** What the firmware says this machine is; `undefined` where there is none, as in many containers. */
function productName(): string | undefined {
  try {
    return anyFile.textSync("/sys/class/dmi/id/product_name");
  } catch {
    return undefined;
  }
}
