/**
 * One deadline for all requests of a start. In: calls to a cluster. Out: their results, transient failures retried.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import { type ErrorCode, KrunError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { retryDelayMs } from "../core/retry_delay.ts";

/** Options of {@linkcode StartRetry}. */
export interface StartRetryOptions {
  /** Until when transient failures are retried: milliseconds since the epoch. In the past: one try, without a limit. */
  readonly deadlineMs: number;
  /** Ends every call and every wait; {@linkcode StartRetry.call} then rejects with its reason. */
  readonly signal: AbortSignal;
  /** By which the deadline is kept. */
  readonly clock: Clock;
  /** A number from 0 to below 1. */
  readonly random: () => number;
  /** Told once that something is tried again. */
  readonly log: Logger;
}

/** What it means that nobody answers, and what to do about it. */
export interface Silence {
  readonly code: ErrorCode;
  readonly hint: string;
}

const OF_CLUSTER: Silence = { code: "ClusterUnreachable", hint: "check the API server's address and the network" };

const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 5_000;

/** How long a kube-apiserver that comes up may answer 403 to everybody, before it has read its Roles. Measured: below 2 s. */
const WARM_UP_MS = 10_000;

/**
 * Retries the calls of one start until their common deadline.
 *
 * A failure that will not pass by itself ends the retries of all others too: the start fails in any case, and the person
 * who waits should know at once. Dispose it when all calls have settled.
 */
export class StartRetry implements Disposable {
  readonly #options: StartRetryOptions;
  readonly #startedMs: number;
  /** Aborted at the deadline, by the caller, or at the end: no wait and no call outlives it. */
  readonly #over = new AbortController();
  /** Aborted as well when another call failed for good: calls under way may finish, nothing is tried again. */
  readonly #hopeless = new AbortController();
  readonly #end = () => this.#over.abort(this.#options.signal.reason);
  readonly #deadline: AbortSignal | undefined;
  #told = false;
  #awayAtMs: number | undefined;

  /** The deadline counts from now on. */
  constructor(options: StartRetryOptions) {
    this.#options = options;
    this.#startedMs = options.clock.nowMs();
    this.#over.signal.addEventListener("abort", () => this.#hopeless.abort(), { once: true });
    options.signal.addEventListener("abort", this.#end);
    if (options.signal.aborted) this.#end();
    const leftMs = options.deadlineMs - this.#startedMs;
    if (leftMs <= 0) this.#hopeless.abort();
    else if (Number.isFinite(leftMs)) {
      this.#deadline = options.clock.deadline(leftMs);
      this.#deadline.addEventListener("abort", this.#end);
    }
  }

  /**
   * Calls until it succeeds, it fails for good, or the deadline passes.
   *
   * @throws {KrunError} the last failure; `ClusterUnreachable`, or as `silence` says, when the first call had not ended at the
   * deadline.
   */
  async call<T>(
    what: string,
    attempt: (signal: AbortSignal) => Promise<T>,
    { silence = OF_CLUSTER }: { readonly silence?: Silence } = {},
  ): Promise<T> {
    let last: KrunError | undefined;
    for (let failures = 1;; failures++) {
      try {
        return await attempt(this.#over.signal);
      } catch (error) {
        this.#options.signal.throwIfAborted();
        // At the deadline a call under way ends with an abort, which says less than what it met before.
        last = error instanceof KrunError && !this.#over.signal.aborted
          ? error
          : last ?? this.#noAnswer(what, { silence, cause: error });
      }
      if (!this.#mayPass(last)) this.#hopeless.abort();
      if (this.#hopeless.signal.aborted) throw last;
      this.#tell(last);
      await this.#options.clock.sleep(this.#delayMs(failures, last), this.#hopeless.signal);
      this.#options.signal.throwIfAborted();
      if (this.#hopeless.signal.aborted) throw last;
    }
  }

  /** Ends what is still under way. */
  [Symbol.dispose](): void {
    this.#options.signal.removeEventListener("abort", this.#end);
    this.#deadline?.removeEventListener("abort", this.#end);
    this.#over.abort();
  }

  /** Whether a later try may succeed. */
  #mayPass({ transient, code }: KrunError): boolean {
    const nowMs = this.#options.clock.nowMs();
    if (transient) this.#awayAtMs = nowMs;
    return transient || (code === "Forbidden" && this.#awayAtMs !== undefined && nowMs - this.#awayAtMs < WARM_UP_MS);
  }

  #delayMs(failures: number, { retryAfterMs: atLeastMs }: KrunError): number {
    const chance = this.#options.random();
    return retryDelayMs(failures, { chance, firstMs: FIRST_DELAY_MS, maxMs: LONGEST_DELAY_MS, atLeastMs });
  }

  #tell(error: KrunError): void {
    if (this.#told) return;
    this.#told = true;
    this.#options.log.warn("trying again until KRUN_START_TIMEOUT", { reason: error.message });
  }

  /** An error that is no KrunError is a fault of krun, except at the deadline, when it is the abort of the call. */
  #noAnswer(what: string, { silence: { code, hint }, cause }: { silence: Silence; cause: unknown }): KrunError {
    if (!this.#over.signal.aborted) throw cause;
    const seconds = Math.round((this.#options.clock.nowMs() - this.#startedMs) / 1000);
    const sharedEnd = `: no answer within ${seconds} s`;
    return new KrunError(code, `Cannot ${what}${sharedEnd}`, hint, { cause, transient: true, sharedEnd });
  }
}

/** The failure of a request that has nobody to go to. */
export function noCluster(what: string): KrunError {
  return new KrunError("ClusterNotFound", `Cannot ${what}: there is no cluster`, "set KUBECONFIG or KRUN_MANIFESTS");
}
