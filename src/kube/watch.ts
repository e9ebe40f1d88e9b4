/**
 * Following one object: by a watch that begins with the object's present state, by polling where a watch is not allowed.
 * In: a source of reads and watches of that object. Out: each new version, one delivery at a time.
 *
 * @module
 */
import type { FollowOptions, FollowState, WatchedObject } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { retryDelayMs } from "../core/retry_delay.ts";
import {
  fromTheBeginning,
  initialWatchState,
  stepEvent,
  stepRead,
  type WatchEvent,
  type WatchFailure,
  type WatchStep,
} from "../core/watch_state.ts";
import { sleep } from "./abort.ts";
import { SilentConnectionError } from "./transport.ts";

/** An open watch. */
export interface OpenWatch {
  /** To be read once. */
  readonly events: AsyncIterable<WatchEvent>;
  /** Ends it. */
  close(): void;
  /** Whether a bookmark will mark the end of the initial state, so that the object's absence is known. */
  readonly marksInitialEnd: boolean;
  /** After how many milliseconds the server was asked to end it. One that ends it earlier is about to stop. */
  readonly lastsMs: number;
}

/** Reads and watches of one object. */
export interface WatchSource {
  read(signal: AbortSignal): Promise<WatchedObject | undefined>;
  /** @param resourceVersion where to go on; unset: begin with the present state */
  watch(resourceVersion: string | undefined, signal: AbortSignal): Promise<OpenWatch>;
  /** Resolves when the server answers again, with a pause of its own. May reject when the signal aborts. */
  reached(signal: AbortSignal): Promise<void>;
  /** The failure that an ERROR event stands for. */
  failure(failure: WatchFailure): KrunError;
}

/** Times of following, all in milliseconds. */
export interface FollowTiming {
  /** Longest wait between two tries while the server is away: what bounds how stale files are after its return. @default {5_000} */
  readonly retryMs?: number;
  /** Longest wait between two reads, and between two tries of what is not allowed. @default {60_000} */
  readonly pollMs?: number;
  /** Number in [0, 1). @default {Math.random} */
  readonly chance?: () => number;
}

/**
 * Follows the object until the signal aborts. Delivers the newest version; never an older one after a newer; may skip versions
 * in between. The initial state is delivered unless `known` says that it was.
 *
 * - The server ends the watch, as it does every few minutes: goes on at the last resourceVersion.
 * - 410 Gone, a connection that broke or was silent, a server that is stopping: begins with the present state, since what
 *   answers next may have an older etcd, where the last resourceVersion lies in the future and would wait without a word.
 * - The server cannot be reached: waits for it together with all others who do. When it can, but watches break again and again:
 *   with jittered back-off between them.
 * - 403 for the watch: reads every `pollMs`, and tries the watch again before each read.
 * - 429 and 5xx: waits as long as the server asks, a minute at most, then with jittered back-off.
 *
 * @throws whatever `deliver` throws; nothing else.
 */
export async function followObject(
  source: WatchSource,
  options: FollowOptions & { readonly timing?: FollowTiming | undefined },
): Promise<void> {
  await new Follower(source, options).run();
}

/** The first wait after a failure, milliseconds. */
const FIRST_RETRY_MS = 500;

/** A watch that lasted this long, milliseconds, has nothing to do with failures before it. */
const STEADY_MS = 10_000;

class Follower {
  readonly #source: WatchSource;
  readonly #options: FollowOptions;
  readonly #timing: Required<FollowTiming>;
  readonly #deliveries: Deliveries;
  #state;
  #failures = 0;
  #said: string | undefined;

  constructor(source: WatchSource, options: FollowOptions & { readonly timing?: FollowTiming | undefined }) {
    this.#source = source;
    this.#options = options;
    this.#timing = { retryMs: 5_000, pollMs: 60_000, chance: Math.random, ...options.timing };
    this.#deliveries = new Deliveries((object) => options.deliver(object));
    this.#state = initialWatchState(options.known);
  }

  async run(): Promise<void> {
    // A delivery that throws ends the loop as well.
    const signal = AbortSignal.any([this.#options.signal, this.#deliveries.failed]);
    while (!signal.aborted) {
      try {
        await this.#watch(signal);
      } catch (error) {
        if (!signal.aborted) await this.#recover(error, signal);
      }
    }
    await this.#deliveries.settled();
  }

  /** One watch, until the server ends it. */
  async #watch(signal: AbortSignal): Promise<void> {
    const { resourceVersion } = this.#state;
    if (resourceVersion === undefined) this.#state = fromTheBeginning(this.#state);
    let [isNews, isSound] = [false, false];
    const { events, marksInitialEnd, lastsMs, close } = await this.#source.watch(resourceVersion, signal);
    const openedAt = performance.now();
    try {
      if (resourceVersion === undefined && !marksInitialEnd) {
        this.#apply(stepRead(this.#state, await this.#source.read(signal)));
      }
      if (!this.#state.initial) this.#say("watching");
      for await (const event of events) {
        this.#apply(stepEvent(this.#state, event));
        isNews = true;
        if (!this.#state.initial) this.#say("watching");
      }
    } finally {
      close();
      const lastedMs = performance.now() - openedAt;
      isSound = lastedMs >= STEADY_MS || isNews && lastedMs >= 0.9 * lastsMs;
      if (isSound) this.#failures = 0;
    }
    if (performance.now() - openedAt < 0.9 * lastsMs) this.#state = fromTheBeginning(this.#state);
    // A server that ends every watch at once would be asked without a pause.
    if (!isSound) await this.#pause(undefined, signal);
  }

  async #recover(error: unknown, signal: AbortSignal): Promise<void> {
    // 410: the version to go on from is too old. Silence: the connection is dead, or the server has had no bookmark to send,
    // as when it has seen no change of that kind since its own start. Beginning anew needs no pause, unless that has failed.
    const wasGoingOn = this.#state.resourceVersion !== undefined;
    this.#state = fromTheBeginning(this.#state);
    if (wasGoingOn && (error instanceof Expired || isSilence(error))) return;
    const reason = error instanceof Expired ? error.failure : error;
    if (!(reason instanceof KrunError)) throw reason;
    if (reason.code === "Forbidden") return await this.#poll(reason, signal);
    this.#say("retrying", reason);
    await this.#pause(reason, signal);
  }

  async #poll(forbidden: KrunError, signal: AbortSignal): Promise<void> {
    try {
      this.#apply(stepRead(this.#state, await this.#source.read(signal)));
      this.#say("polling", forbidden);
      await this.#pause(forbidden, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof KrunError)) throw error;
      this.#say("retrying", error);
      await this.#pause(error, signal);
    }
  }

  async #pause(error: KrunError | undefined, signal: AbortSignal): Promise<void> {
    const { retryMs, pollMs, chance } = this.#timing;
    this.#failures++;
    if (error?.code === "ClusterUnreachable") {
      await this.#source.reached(signal).catch(() => {});
      // What cuts watches off may let all else through.
      if (this.#failures === 1) return;
    }
    // What fails by itself is not worth asking often; what passes by itself is.
    const maxMs = error?.transient === false ? pollMs : retryMs;
    const options = { chance: chance(), firstMs: FIRST_RETRY_MS, maxMs, atLeastMs: error?.retryAfterMs };
    await sleep(retryDelayMs(this.#failures, options), signal);
  }

  #apply({ state, tell, failure }: WatchStep): void {
    this.#state = state;
    if (tell) this.#deliveries.post(tell.object);
    if (!failure) return;
    const error = this.#source.failure(failure);
    throw failure.code === 410 ? new Expired(error) : error;
  }

  #say(state: FollowState, reason?: Error): void {
    // That it may not be read any more is news in an outage too.
    const said = reason instanceof KrunError && reason.code === "Forbidden" ? `${state}, forbidden` : state;
    if (said === this.#said) return;
    this.#said = said;
    this.#options.onState?.(state, reason);
  }
}

function isSilence(error: unknown): boolean {
  return error instanceof KrunError && error.cause instanceof SilentConnectionError;
}

/** The server has forgotten the version to go on from. */
class Expired extends Error {
  override readonly name = "Expired";

  constructor(readonly failure: KrunError) {
    super(failure.message);
  }
}

/** Hands over the newest version, one delivery at a time. Versions that came meanwhile are skipped but for the last. */
class Deliveries {
  readonly #deliver: (object: WatchedObject | undefined) => void | Promise<void>;
  readonly #failed = new AbortController();
  #next: { readonly object: WatchedObject | undefined } | undefined;
  #running: Promise<void> | undefined;

  constructor(deliver: (object: WatchedObject | undefined) => void | Promise<void>) {
    this.#deliver = deliver;
  }

  /** Aborts when a delivery has thrown. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  post(object: WatchedObject | undefined): void {
    this.#next = { object };
    this.#running ??= this.#run();
  }

  /** Waits for the delivery that is going on. @throws what a delivery has thrown */
  async settled(): Promise<void> {
    await this.#running;
    if (this.failed.aborted) throw this.failed.reason;
  }

  async #run(): Promise<void> {
    try {
      while (this.#next && !this.failed.aborted) {
        const { object } = this.#next;
        this.#next = undefined;
        await this.#deliver(object);
      }
    } catch (error) {
      this.#failed.abort(error);
    } finally {
      this.#running = undefined;
    }
  }
}
