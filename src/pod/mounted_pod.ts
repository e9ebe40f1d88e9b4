/**
 * Makes a Pod's files and environment true on this machine, and keeps them so.
 *
 * In: a planned Pod and a cluster. Out: files in place, environments on demand, and a loop that follows every change.
 *
 * @module
 */
import type { V1Pod } from "@kubernetes/client-node";
import type { Clock } from "../core/clock.ts";
import type { Cluster, ObjectRef, TokenRef } from "../core/cluster.ts";
import { containerEnv, containerEnvNeeds } from "../core/container_env.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { GoogleTokens } from "../core/google_token.ts";
import { foreseen } from "../core/internal_fault.ts";
import type { Logger } from "../core/log.ts";
import type { MountStatus } from "../core/mount_status.ts";
import type { Env, NodeFacts } from "../core/pod_inputs.ts";
import type { PlannedPod } from "../core/pod_from_settings.ts";
import type { ReferenceSource } from "../core/reference_pod.ts";
import { startFailure } from "../core/start_failure.ts";
import { mountedVolumes, podContainers } from "../core/volume_mounts.ts";
import type { BaseFolder } from "./base_folder.ts";
import { systemClock } from "./clock.ts";
import { warnOfHiddenKeys } from "./hidden_keys.ts";
import { MountedVolume } from "./mounted_volume.ts";
import { startPod } from "./pod_start.ts";
import { PodSources, tokenId } from "./pod_sources.ts";
import { StartRetry } from "./start_retry.ts";

export type { MountStatus };

/** Options of {@linkcode mountPod}. */
export interface MountPodOptions {
  /**
   * Below which every file lies; the caller opens and closes it, and closing it removes the files. Only for a Pod that mounts
   * nothing it may be `undefined`. A promise is awaited when all requests are on their way, and what it rejects with ends the
   * start.
   */
  readonly base: BaseFolder | undefined | Promise<BaseFolder | undefined>;
  /**
   * The base as the user named it, absolute: absolute mount paths that begin with it are inside the base, although
   * `base.base` is free of links. @default {the base's own path}
   */
  readonly basePath?: string;
  /** For what happens after the start too. */
  readonly log: Logger;
  /** Ends the start; what was made so far stays until `base` is closed. */
  readonly signal: AbortSignal;
  /** Transient failures are retried until then: milliseconds since the epoch. In the past: every request is made once. */
  readonly deadlineMs: number;
  /** Bytes lie in the mount path itself, never in memory elsewhere: another container reads the folder. @default {false} */
  readonly inPlace?: boolean;
  /** For `status.hostIP` and its like. */
  readonly node: NodeFacts;
  /** As in `PodSourcesOptions`. */
  readonly googleTokens?: GoogleTokens | undefined;
  /** As in `PodSourcesOptions`. */
  readonly referenceSource?: ReferenceSource | undefined;
  /** For tests. @default {systemClock} */
  readonly clock?: Clock;
  /** A number from 0 to below 1. @default {Math.random} */
  readonly random?: () => number;
}

/** What changed, told after the files are new. */
export interface PodChange {
  /** Whose new version it is. */
  readonly object: ObjectRef;
  /** Volumes whose files became new. */
  readonly volumes: readonly string[];
  /** Containers whose environment refers to the object; a running one keeps its old values, as in a Pod. */
  readonly containers: readonly string[];
}

/** Options of {@linkcode MountedPod.keepFresh}. */
export interface KeepFreshOptions {
  /** Ends the loop; the files stay. */
  readonly signal: AbortSignal;
  /**
   * Called once for each change of an object that made files new or that an environment refers to, after the files are new;
   * not debounced. Never for the renewal of a token. Must not throw.
   */
  onChange?(change: PodChange): void;
}

/** Files that could not be written are tried again this often. */
const WRITE_RETRY_MS = 5_000;

/**
 * Fetches all objects, tokens and Services at once, publishes every mounted volume as soon as what it needs is there, and
 * returns when everything is in place.
 *
 * A volume that no container mounts is not set up. Nothing is followed or renewed before {@linkcode MountedPod.keepFresh}.
 *
 * @throws {KrunError} one error for all failures, with the code of the first that will not pass by itself: `ObjectNotFound`,
 * `KeyNotFound`, `Forbidden`, `ServiceAccountNotFound`, `ClusterUnreachable`, `TargetInUse` or another; `details` lists
 * them all. The signal's reason when it aborts. What was made until then stays until `base` is closed.
 */
export async function mountPod(
  planned: PlannedPod,
  cluster: Cluster | undefined,
  options: MountPodOptions,
): Promise<MountedPod> {
  const { log, node, signal, googleTokens, referenceSource, clock = systemClock, random = Math.random } = options;
  using retry = new StartRetry({ ...options, clock, random });
  const sources = new PodSources(planned, cluster, { log, node, clock, random, googleTokens, referenceSource });
  const volumes = mountedVolumes(planned.pod).map((volume) => new MountedVolume(volume, planned));
  findSoleUsers(planned.pod, volumes);
  const { base, basePath, inPlace = false } = options;
  const starting = startPod({ planned, sources, volumes, retry, base, basePath, inPlace, clock });
  const [failures] = await Promise.all([starting, base]);
  signal.throwIfAborted();
  if (failures.length > 0) throw startFailure(failures);
  warnOfHiddenKeys(volumes.map((volume) => volume.status()), { log, origins: planned.origins });
  return new MountedPod(planned.pod, { sources, volumes, log, clock });
}

/** Marks the volumes that alone are made from their one object: its data is let go of once it is on disk. */
function findSoleUsers(pod: V1Pod, volumes: readonly MountedVolume[]): void {
  const users = new Map<string, number>();
  const needs = [...volumes.map((volume) => volume.needs), ...podContainers(pod).map(containerEnvNeeds)];
  for (const { kind, name } of needs.flatMap(({ objects }) => objects)) {
    users.set(`${kind}/${name}`, (users.get(`${kind}/${name}`) ?? 0) + 1);
  }
  for (const volume of volumes) {
    const [only, ...others] = volume.needs.objects;
    const single = only !== undefined && others.length === 0 && volume.needs.tokens.length === 0;
    volume.soleUser = single && users.get(`${only.kind}/${only.name}`) === 1;
  }
}

/** What a {@linkcode MountedPod} is made of. */
interface MountedParts {
  readonly sources: PodSources;
  readonly volumes: readonly MountedVolume[];
  readonly log: Logger;
  readonly clock: Clock;
}

/** Failures of the file system. */
const FILE_FAULTS: ReadonlySet<ErrorCode> = new Set(["NoSpace", "TargetUnwritable"]);

/** A Pod on this machine. Made by {@linkcode mountPod}; disposing it ends its loops and leaves its files. */
export class MountedPod implements AsyncDisposable {
  readonly #sources: PodSources;
  readonly #volumes: readonly MountedVolume[];
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #ended = new AbortController();
  #keeping: Promise<unknown> = Promise.resolve();

  /** For {@linkcode mountPod} only. */
  constructor(readonly pod: V1Pod, { sources, volumes, log, clock }: MountedParts) {
    this.#sources = sources;
    this.#volumes = volumes;
    this.#log = log;
    this.#clock = clock;
  }

  /**
   * The environment of a container from the newest objects; call it at each start of the container. Services are those of
   * `mountPod`.
   *
   * @throws {KrunError} `ObjectNotFound`, `KeyNotFound`, `PodInvalid`
   * @throws {RangeError} when the Pod has no such container
   */
  env(containerName: string): Env {
    const container = podContainers(this.pod).find(({ name }) => name === containerName);
    if (!container) throw new RangeError(`Cannot use container "${containerName}": the Pod has none of that name`);
    return containerEnv(container, { pod: this.pod, inputs: this.#sources });
  }

  /**
   * Points the subPath mounts of a container at what the volumes hold now. Call it before each start of the container, the
   * first included: until then there is nothing at their paths.
   *
   * @throws {KrunError} as `SubPathMount.resolve`
   */
  resolveSubPaths(containerName: string): void {
    for (const volume of this.#volumes) volume.resolveSubPaths(containerName);
  }

  /**
   * Follows every object and renews every token until the signal aborts, then resolves. Call it once.
   *
   * A change is on disk before the next one is looked at; files that cannot be written are tried again every 5 s. An object
   * that is deleted leaves its last files, unless every reference to it is optional: then they vanish, and come back with
   * it. Objects that only an environment refers to are followed too: a container that starts again while the server is away
   * still gets the newest values.
   */
  async keepFresh({ signal, onChange = () => {} }: KeepFreshOptions): Promise<void> {
    const until = AbortSignal.any([signal, this.#ended.signal]);
    this.#keeping = Promise.all([
      this.#sources.follow({
        signal: until,
        onChange: (object) => this.#objectChanged(object, onChange),
        onRenewed: (token) => this.#tokenRenewed(token),
      }),
      this.#retryWrites(until, onChange),
    ]);
    await this.#keeping;
  }

  /** What is mounted and how fresh it is. */
  status(): MountStatus {
    return { volumes: this.#volumes.map((volume) => volume.status()), ...this.#sources.status() };
  }

  /** Ends {@linkcode MountedPod.keepFresh} and waits for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#keeping;
  }

  #objectChanged(object: ObjectRef, onChange: (change: PodChange) => void): void {
    const isIt = ({ kind, name }: { kind: string; name: string }) => kind === object.kind && name === object.name;
    const users = this.#volumes.filter(({ needs }) => needs.objects.some(isIt));
    const volumes = users.filter((volume) => this.#refresh(volume, object)).map(({ name }) => name);
    const containers = podContainers(this.pod)
      .filter((container) => containerEnvNeeds(container).objects.some(isIt)).map(({ name }) => name);
    if (volumes.length + containers.length > 0) onChange({ object, volumes, containers });
  }

  #tokenRenewed(token: TokenRef): void {
    const id = tokenId(token);
    for (const volume of this.#volumes) {
      if (volume.needs.tokens.some((ref) => tokenId(ref) === id)) this.#refresh(volume);
    }
  }

  /** Publishes a volume again; true when its files became new. `object`: whose change asks for it. */
  #refresh(volume: MountedVolume, object?: ObjectRef): boolean {
    const before = volume.error;
    try {
      const published = volume.publish(this.#sources, this.#clock.nowMs());
      volume.error = volume.behind = undefined;
      if (before || published) {
        this.#log.info("volume is up to date", { volume: volume.name, object: objectName(object) });
      }
      return published;
    } catch (error) {
      volume.error = foreseen(`write volume "${volume.name}"`, error);
      volume.behind = object ?? volume.behind;
      const { code, message } = volume.error;
      // What a file fault names is a folder of that one attempt, so its words differ at each retry.
      const same = code === before?.code && (message === before.message || FILE_FAULTS.has(code));
      if (!same) this.#log.warn("volume keeps its files", { volume: volume.name, reason: message });
      return false;
    }
  }

  async #retryWrites(signal: AbortSignal, onChange: (change: PodChange) => void): Promise<void> {
    while (!signal.aborted) {
      await this.#clock.sleep(WRITE_RETRY_MS, signal);
      if (signal.aborted) return;
      for (const volume of this.#volumes.filter(({ error }) => error)) {
        const object = volume.behind;
        const published = this.#refresh(volume, object);
        if (published && object) onChange({ object, volumes: [volume.name], containers: [] });
      }
    }
  }
}

function objectName(ref: ObjectRef | undefined): string | undefined {
  return ref && `${ref.kind}/${ref.namespace}/${ref.name}`;
}
