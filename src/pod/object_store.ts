/**
 * The Secrets and ConfigMaps of one Pod: each read once, then followed; the newest version of each.
 *
 * @module
 */
import type { V1ConfigMap } from "@kubernetes/client-node";
import type { Clock } from "../core/clock.ts";
import type { Cluster, FollowState, ObjectKind, ObjectRef, WatchedObject } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { ObjectStatus } from "../core/mount_status.ts";
import type { PlacedReference, PlannedReferences, ReferenceSource } from "../core/reference_pod.ts";
import { noCluster, type Silence, type StartRetry } from "./start_retry.ts";

/** An outage so soon after the last one that was told, milliseconds, is told at debug: watches may break again and again. */
const OUTAGE_TOLD_EVERY_MS = 60_000;

/** No API of Google's answers. */
const OF_GOOGLE: Silence = { code: "GoogleApiFailed", hint: "check the network, and that a proxy lets it through" };

/** Options of {@linkcode ObjectStore}. */
export interface ObjectStoreOptions {
  /** The Pod's namespace. */
  readonly namespace: string;
  /** `<kind>/<name>` → an object of krun's own: never read from the cluster, never followed. */
  readonly localObjects: ReadonlyMap<string, V1ConfigMap>;
  /** What stands for references, by its name: read and followed there, never in the cluster. @default {nothing does} */
  readonly references?: PlannedReferences | undefined;
  /** Who gives those. */
  readonly referenceSource?: ReferenceSource | undefined;
  /** Told of an outage and its end. */
  readonly log: Logger;
  /** For the instant since which a server was not heard. */
  readonly clock: Clock;
}

/** Options of {@linkcode ObjectStore.follow}. */
export interface StoreFollowOptions {
  /** Ends the loop. */
  readonly signal: AbortSignal;
  /** Called after the newest version is in the store, when its data differs from the version before or it came or went. */
  onChange(ref: ObjectRef): void;
  /** Called when a server that was away answers again, with the instant of `elapsedMs` since which it was not heard. */
  onReturn(awaySinceElapsedMs: number): void;
}

interface Entry {
  readonly ref: ObjectRef;
  readonly local: boolean;
  readonly loaded: Promise<void>;
  object: WatchedObject | undefined;
  /** False once its data was let go of. */
  whole: boolean;
  state: FollowState | undefined;
  /** krun may not read it any more. */
  forbidden: boolean;
  changes: number;
}

/** The newest version of every object of one Pod. */
export class ObjectStore {
  readonly #cluster: Cluster | undefined;
  readonly #options: ObjectStoreOptions;
  readonly #entries = new Map<string, Entry>();
  /** Objects whose server does not answer, and since when none of them was heard. */
  #away = { count: 0, sinceElapsedMs: 0 };
  /** When an outage was last told, and whether the one of now was. */
  #told = { atElapsedMs: -Infinity, isThis: false };

  /** Reads nothing yet. Without a cluster it has krun's own objects only. */
  constructor(cluster: Cluster | undefined, options: ObjectStoreOptions) {
    this.#cluster = cluster;
    this.#options = options;
  }

  /**
   * Reads an object; a second call for the same one waits for the first. One that does not exist is no failure here.
   *
   * @throws {KrunError} as {@linkcode Cluster.get}, and `ClusterNotFound` where there is no cluster.
   */
  load(kind: ObjectKind, name: string, retry: StartRetry): Promise<void> {
    const id = `${kind}/${name}`;
    const known = this.#entries.get(id);
    if (known) return known.loaded;
    const ref = { kind, name, namespace: this.#options.namespace };
    const local = this.#options.localObjects.get(id);
    const loaded = local ? Promise.resolve() : this.#read(ref, retry).then((object) => void (entry.object = object));
    const entry: Entry = {
      ...{ ref, local: local !== undefined, loaded, object: local },
      ...{ whole: true, state: undefined, forbidden: false, changes: 0 },
    };
    this.#entries.set(id, entry);
    return loaded;
  }

  /** The newest version; `undefined`: it does not exist. @throws {KrunError} `Internal` when it was never asked for. */
  object(kind: ObjectKind, name: string): WatchedObject | undefined {
    return this.#entry(kind, name).object;
  }

  /**
   * Lets go of an object's data and keeps its version: for an object whose one user has written it to a file. It is whole
   * again with the next version.
   */
  release(kind: ObjectKind, name: string): void {
    const entry = this.#entry(kind, name);
    if (entry.local || !entry.object?.metadata) return;
    entry.object = { metadata: entry.object.metadata };
    entry.whole = false;
  }

  /** Follows every object that was loaded until the signal aborts. Never rejects. */
  async follow({ signal, onChange, onReturn }: StoreFollowOptions): Promise<void> {
    const followed = [...this.#entries.values()].filter((entry) => !entry.local);
    await Promise.all(followed.map((entry) =>
      this.#sourceOf(entry.ref)?.follow(entry.ref, {
        signal,
        known: entry.object ?? null,
        deliver: (object) => this.#deliver(entry, object, onChange),
        onState: (state, reason) => this.#state(entry, { state, reason, onReturn }),
      })
    ));
  }

  /** How each object stands, in the order of their first load. */
  status(): ObjectStatus[] {
    return [...this.#entries.values()].map(({ ref, local, object, state, changes }) => ({
      kind: ref.kind,
      name: ref.name,
      found: object !== undefined,
      local,
      ...(state && { state }),
      changes,
    }));
  }

  #entry(kind: ObjectKind, name: string): Entry {
    const entry = this.#entries.get(`${kind}/${name}`);
    if (entry) return entry;
    throw new KrunError("Internal", `Cannot use ${kind} "${name}": it was not read`, "report this as a fault of krun");
  }

  #read(ref: ObjectRef, retry: StartRetry): Promise<WatchedObject | undefined> {
    const source = this.#sourceOf(ref);
    const reference = this.#reference(ref);
    const what = reference === undefined
      ? `read ${ref.kind} "${ref.namespace}/${ref.name}"`
      : `resolve ${reference.variable} from ${reference.shown}`;
    if (!source) return Promise.reject(noCluster(what));
    const isOfGoogle = reference !== undefined && reference.object.system !== "kubernetes";
    return retry.call(what, (signal) => source.get(ref, { signal }), isOfGoogle ? { silence: OF_GOOGLE } : {});
  }

  #sourceOf(ref: ObjectRef): ReferenceSource | undefined {
    return this.#reference(ref) === undefined ? this.#cluster : this.#options.referenceSource;
  }

  /** The reference that an object stands for. */
  #reference({ kind, name }: ObjectRef): PlacedReference | undefined {
    return kind === "Secret" ? this.#options.references?.bySecret.get(name) : undefined;
  }

  #deliver(entry: Entry, object: WatchedObject | undefined, onChange: StoreFollowOptions["onChange"]): void {
    const same = entry.whole && sameData(entry.object, object);
    entry.object = object;
    entry.whole = true;
    entry.changes++;
    if (!same) onChange(entry.ref);
  }

  #state(
    entry: Entry,
    { state, reason, onReturn }:
      & { state: FollowState; reason: Error | undefined }
      & Pick<StoreFollowOptions, "onReturn">,
  ): void {
    const { clock, log } = this.#options;
    const forbidden = state === "retrying" && reason instanceof KrunError && reason.code === "Forbidden";
    const isAway = state === "retrying" && !forbidden;
    const wasAway = entry.state === "retrying" && !entry.forbidden;
    if (forbidden && !entry.forbidden) {
      log.warn("an object may not be read any more, its last version stays", { reason: reason.message });
    }
    entry.state = state;
    entry.forbidden = forbidden;
    if (isAway && !wasAway) {
      if (this.#away.count++ > 0) return;
      this.#away.sinceElapsedMs = clock.elapsedMs();
      const isThis = clock.elapsedMs() - this.#told.atElapsedMs >= OUTAGE_TOLD_EVERY_MS;
      this.#told = { isThis, atElapsedMs: isThis ? clock.elapsedMs() : this.#told.atElapsedMs };
      const event = "objects cannot be followed, their last version stays";
      log[isThis ? "warn" : "debug"](event, { reason: reason?.message });
    } else if (!isAway && wasAway) {
      if (--this.#away.count === 0) log[this.#told.isThis ? "info" : "debug"]("objects are followed again");
      onReturn(this.#away.sinceElapsedMs);
    }
  }
}

/** Whether two versions hold the same data; metadata alone makes no file new. */
function sameData(before: WatchedObject | undefined, after: WatchedObject | undefined): boolean {
  if (before === undefined || after === undefined) return before === after;
  return sameMap(before.data, after.data) && sameMap(binaryData(before), binaryData(after));
}

function binaryData(object: WatchedObject): V1ConfigMap["binaryData"] {
  return "binaryData" in object ? object.binaryData : undefined;
}

function sameMap(before: Record<string, string> = {}, after: Record<string, string> = {}): boolean {
  const keys = Object.keys(before);
  return keys.length === Object.keys(after).length && keys.every((key) => before[key] === after[key]);
}
