/**
 * One object that references name, for all of them: it is read once, and followed once. In: where it is. Out: its content, again and
 * again.
 *
 * @module
 */
import type { FollowState } from "../core/cluster.ts";
import type { FoundObject } from "../core/reference_value.ts";
import { retryDelayMs } from "../core/retry_delay.ts";
import { sleep } from "../kube/abort.ts";

/** Who reads and follows objects of one kind. */
export interface ObjectReader {
  /** The object; `undefined`: it does not exist. @throws {KrunError} in words of the place where it is */
  read(signal: AbortSignal | undefined): Promise<FoundObject | undefined>;
  /** Follows it until the signal aborts; never throws for a failing server. */
  follow(options: ObjectFollowOptions): Promise<void>;
}

/** Options of {@linkcode ObjectReader.follow}. */
export interface ObjectFollowOptions {
  readonly signal: AbortSignal;
  /** Called with each new version, one call at a time; `undefined`: it is gone. */
  deliver(found: FoundObject | undefined): Promise<void>;
  /** Called when the way of following changes. */
  onState(state: FollowState, reason?: Error): void;
}

/** One reference to the object. */
export type ObjectListener = Omit<ObjectFollowOptions, "signal">;

/** As those who ask wait between two tries (`pod/start_retry.ts`). */
const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5_000;

/** An object, shared by its references. */
export class ReferencedObject {
  readonly #reader: ObjectReader;
  readonly #listeners = new Set<ObjectListener>();
  #reading: Promise<FoundObject | undefined> | undefined;
  #failures = 0;
  /** Nobody asks again before, milliseconds since the epoch. */
  #notBeforeMs = 0;
  #following: Promise<void> | undefined;

  constructor(reader: ObjectReader) {
    this.#reader = reader;
  }

  /**
   * Reads it, once for all who ask. A failure is not kept; but of all who then ask again, each after a time of its own, none does so
   * for some time, and those that have come share the next try.
   *
   * @throws as the reader
   */
  read(signal: AbortSignal | undefined): Promise<FoundObject | undefined> {
    return this.#reading ??= this.#read(signal).catch((error) => {
      this.#reading = undefined;
      const delay = { chance: Math.random(), firstMs: FIRST_RETRY_MS, maxMs: LONGEST_RETRY_MS };
      this.#notBeforeMs = Date.now() + retryDelayMs(++this.#failures, delay);
      throw error;
    });
  }

  async #read(signal: AbortSignal | undefined): Promise<FoundObject | undefined> {
    const waitMs = this.#notBeforeMs - Date.now();
    if (waitMs > 0) await sleep(waitMs, signal ?? new AbortController().signal);
    return await this.#reader.read(signal);
  }

  /** Follows it for one more reference, until the signal aborts that was given first: it is one for all. */
  follow(signal: AbortSignal, listener: ObjectListener): Promise<void> {
    this.#listeners.add(listener);
    return this.#following ??= this.#reader.follow({
      signal,
      deliver: async (found) => {
        for (const one of this.#listeners) await one.deliver(found);
      },
      onState: (state, reason) => this.#listeners.forEach((one) => one.onState(state, reason)),
    });
  }
}
