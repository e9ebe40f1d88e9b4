/**
 * Follows a secret that nobody tells of when it changes: it is read again from time to time. In: who reads it. Out: its content.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { FoundObject } from "../core/reference_value.ts";
import { retryDelayMs } from "../core/retry_delay.ts";
import type { ObjectFollowOptions, ObjectReader } from "./referenced_object.ts";

/** The content of a secret, and which of its versions it is. */
export interface SecretContent {
  readonly bytes: Uint8Array;
  readonly version: string;
}

/** Who reads a secret. */
export interface SecretAccess {
  /**
   * Its content; `unchanged` where it still is the known version; `undefined`: there is none.
   *
   * @throws {KrunError} `GoogleForbidden`, `GoogleApiFailed`, `GoogleCredentialsUnavailable`, `ReferenceUnusable`
   */
  access(options: {
    readonly signal: AbortSignal | undefined;
    readonly known?: string | undefined;
  }): Promise<SecretContent | "unchanged" | undefined>;
}

/** Options of {@linkcode PolledReader}. */
export interface PolledReaderOptions {
  /** Milliseconds between two looks, a tenth more or less; 0: no second one. */
  readonly pollMs: number;
  readonly clock: Clock;
  /** A number from 0 to below 1. */
  readonly random: () => number;
}

const FIRST_RETRY_MS = 5_000;

/** A secret that is looked at again and again. */
export class PolledReader implements ObjectReader {
  readonly #secret: SecretAccess;
  readonly #options: PolledReaderOptions;
  #known: string | undefined;

  constructor(secret: SecretAccess, options: PolledReaderOptions) {
    this.#secret = secret;
    this.#options = options;
  }

  async read(signal: AbortSignal | undefined): Promise<FoundObject | undefined> {
    const content = await this.#secret.access({ signal });
    return this.#take(content === "unchanged" ? undefined : content);
  }

  /** A failure is tried again sooner than the next look, and never ends it. */
  async follow({ signal, deliver, onState }: ObjectFollowOptions): Promise<void> {
    const { pollMs, clock, random } = this.#options;
    if (pollMs === 0) return;
    let failures = 0;
    onState("polling");
    while (!signal.aborted) {
      const waitMs = failures === 0
        ? pollMs * (0.9 + random() / 5)
        : retryDelayMs(failures, { chance: random(), firstMs: Math.min(FIRST_RETRY_MS, pollMs), maxMs: pollMs });
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return;
      try {
        const content = await this.#secret.access({ signal, known: this.#known });
        if (failures > 0) onState("polling");
        failures = 0;
        if (content !== "unchanged") await deliver(this.#take(content));
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Error)) throw error;
        if (failures++ === 0) onState("retrying", error);
      }
    }
  }

  #take(content: SecretContent | undefined): FoundObject | undefined {
    this.#known = content?.version;
    return content && { kind: "bytes", bytes: content.bytes };
  }
}
