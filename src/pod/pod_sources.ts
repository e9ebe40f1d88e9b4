/**
 * Everything a Pod's files and environments are made from: its objects, tokens and Services, each read once, then kept fresh.
 *
 * @module
 */
import type { V1Service } from "@kubernetes/client-node";
import type { Clock } from "../core/clock.ts";
import type { Cluster, ObjectKind, ObjectRef, TokenRef } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { GoogleTokens } from "../core/google_token.ts";
import { foreseen } from "../core/internal_fault.ts";
import type { Logger } from "../core/log.ts";
import type { MountStatus } from "../core/mount_status.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import type { Needs, NodeFacts, PodInputs } from "../core/pod_inputs.ts";
import type { ReferenceSource } from "../core/reference_pod.ts";
import { ObjectStore } from "./object_store.ts";
import { noCluster, type Silence, type StartRetry } from "./start_retry.ts";
import { TokenKeeper } from "./token_keeper.ts";

/** Options of {@linkcode PodSources}. */
export interface PodSourcesOptions {
  /** Told of renewals, of an outage and its end. */
  readonly log: Logger;
  /** For the ages of tokens. */
  readonly clock: Clock;
  /** A number from 0 to below 1. */
  readonly random: () => number;
  /** Handed on. */
  readonly node: NodeFacts;
  /** Who gives the Google tokens that volumes of krun's own ask for. @default {nobody} */
  readonly googleTokens?: GoogleTokens | undefined;
  /** Who resolves the Pod's references. @default {it has none} */
  readonly referenceSource?: ReferenceSource | undefined;
}

/** Options of {@linkcode PodSources.follow}. */
export interface SourcesFollowOptions {
  /** Ends the loops. */
  readonly signal: AbortSignal;
  /** Called when an object's data is new, came or went. */
  onChange(ref: ObjectRef): void;
  /** Called when a token is new. */
  onRenewed(ref: TokenRef): void;
}

/** The objects, tokens and Services of one Pod. As {@linkcode PodInputs} it always answers with the newest. */
export class PodSources implements PodInputs {
  /** The machine. */
  readonly node: NodeFacts;
  readonly #planned: PlannedPod;
  readonly #cluster: Cluster | undefined;
  readonly #options: PodSourcesOptions;
  readonly #store: ObjectStore;
  readonly #keepers = new Map<string, { keeper: TokenKeeper; first: Promise<unknown> }>();
  #services: readonly V1Service[];

  /** Reads nothing yet. */
  constructor(planned: PlannedPod, cluster: Cluster | undefined, options: PodSourcesOptions) {
    this.node = options.node;
    this.#planned = planned;
    this.#cluster = cluster;
    this.#options = options;
    this.#services = planned.localServices;
    const { localObjects, references } = planned;
    this.#store = new ObjectStore(cluster, { ...options, namespace: this.#namespace, localObjects, references });
  }

  /** The newest version; `undefined`: it does not exist. @throws {KrunError} `Internal` when it was never asked for. */
  object(kind: ObjectKind, name: string): ReturnType<PodInputs["object"]> {
    return this.#store.object(kind, name);
  }

  /** The newest token. @throws {KrunError} `Internal` when it was never asked for. */
  token(ref: TokenRef): ReturnType<PodInputs["token"]> {
    const held = this.#keepers.get(tokenId(ref));
    if (held) return held.keeper.current;
    throw new KrunError("Internal", "Cannot use a token: it was not asked for", "report this as a fault of krun");
  }

  /** The Services of the start; krun's own until {@linkcode PodSources.loadServices}. */
  get services(): readonly V1Service[] {
    return this.#services;
  }

  /** Reads all of `needs` at once, what was asked for before not again. Resolves to the failures. */
  load(needs: Needs, retry: StartRetry): Promise<KrunError[]> {
    return failuresOf([
      ...needs.objects.map(({ kind, name }) => this.#store.load(kind, name, retry)),
      ...needs.tokens.map((ref) => this.#loadToken(ref, retry)),
    ]);
  }

  /** Lists the Services of the Pod's namespace if its containers want their variables. Resolves to the failures. */
  loadServices(retry: StartRetry): Promise<KrunError[]> {
    const links = this.#planned.pod.spec?.enableServiceLinks ?? false;
    return this.#cluster && links ? failuresOf([this.#listServices(this.#cluster, retry)]) : Promise.resolve([]);
  }

  /** See {@linkcode ObjectStore.release}. */
  release(kind: ObjectKind, name: string): void {
    this.#store.release(kind, name);
  }

  /** Follows the objects and renews the tokens until the signal aborts. Never rejects. */
  async follow({ signal, onChange, onRenewed }: SourcesFollowOptions): Promise<void> {
    const keepers = [...this.#keepers.values()].map(({ keeper }) => keeper);
    const onReturn = (awaySinceMs: number) => keepers.forEach((keeper) => keeper.serverIsBack(awaySinceMs));
    await Promise.all([
      this.#store.follow({ signal, onChange, onReturn }),
      ...keepers.map((keeper) => keeper.keep({ signal, onRenewed: () => onRenewed(keeper.ref) })),
    ]);
  }

  /** How everything stands. */
  status(): Pick<MountStatus, "objects" | "tokens"> {
    return {
      objects: this.#store.status(),
      tokens: [...this.#keepers.values()].map(({ keeper }) => keeper.status()),
    };
  }

  get #namespace(): string {
    return this.#planned.pod.metadata?.namespace ?? "";
  }

  #loadToken(ref: TokenRef, retry: StartRetry): Promise<unknown> {
    const id = tokenId(ref);
    const known = this.#keepers.get(id);
    if (known) return known.first;
    const google = this.#googleIssuer(ref);
    const what = google
      ? `get a ${ref.audience}`
      : `request a token for service account "${ref.namespace}/${ref.serviceAccount}"`;
    const issuer = google ?? this.#cluster;
    if (!issuer) return Promise.reject(noCluster(what));
    const keeper = new TokenKeeper(issuer, ref, this.#options);
    const first = retry.call(what, (signal) => keeper.first(signal), google && { silence: OF_GOOGLE });
    this.#keepers.set(id, { keeper, first });
    return first;
  }

  /** Who grants a token that is one of Google's; `undefined` for all others. */
  #googleIssuer({ audience }: TokenRef): Pick<Cluster, "requestToken"> | undefined {
    const request = this.#planned.googleTokens.get(audience);
    const { googleTokens } = this.#options;
    if (request === undefined || googleTokens === undefined) return undefined;
    return { requestToken: (_ref, { signal } = {}) => googleTokens.grant(request, { signal }) };
  }

  async #listServices(cluster: Cluster, retry: StartRetry): Promise<void> {
    const namespace = this.#namespace;
    const found = await retry.call(
      `list services of "${namespace}"`,
      (signal) => cluster.services(namespace, { signal }),
    );
    // Its cluster IP means nothing outside the cluster; krun's own stands for it.
    const usable = found.filter(({ metadata }) => metadata?.namespace !== "default" || metadata.name !== "kubernetes");
    this.#services = [...this.#planned.localServices, ...usable];
  }
}

/** Nobody at Google answers. */
const OF_GOOGLE: Silence = {
  code: "GoogleCredentialsUnavailable",
  hint: "check the metadata server, or the network where GOOGLE_APPLICATION_CREDENTIALS is set",
};

/** Equal for equal requests, which share one token. */
export function tokenId({ namespace, serviceAccount, audience, expirationSeconds }: TokenRef): string {
  return JSON.stringify([namespace, serviceAccount, audience, expirationSeconds]);
}

/** Waits for all. Never rejects: what is no KrunError is an abort, which the caller looks for, or a fault of krun. */
async function failuresOf(parts: readonly Promise<unknown>[]): Promise<KrunError[]> {
  const ends = await Promise.allSettled(parts);
  return ends.flatMap((end) => end.status === "rejected" ? [foreseen("read what the Pod needs", end.reason)] : []);
}
