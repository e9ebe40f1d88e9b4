/**
 * Keeps one service account token fresh. In: a cluster that grants tokens. Out: a token that never grows old, or its file.
 *
 * @module
 */
import type { Clock } from "../core/clock.ts";
import type { Cluster, GrantedToken, TokenRef } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { foreseen } from "../core/internal_fault.ts";
import { accountUid } from "../core/jwt.ts";
import type { LogFields, Logger } from "../core/log.ts";
import type { TokenStatus } from "../core/mount_status.ts";
import {
  accountCheckMs,
  accountRecheckMs,
  ageMs,
  grantedLifeMs,
  type Instant,
  renewalAgeMs,
  renewalAlarm,
  renewalJitterMs,
  renewalRetryMs,
} from "../core/token_schedule.ts";
import { systemClock } from "./clock.ts";

/**
 * The clocks are looked at this often: a timer counts only time that the machine was awake, so a suspend or a jump forward
 * is seen within this many milliseconds of the return.
 */
const LOOK_MS = 10_000;

/** Options of {@linkcode TokenKeeper}. */
export interface TokenKeeperOptions {
  /** Told of renewals and of what hinders them, never of a token. */
  readonly log: Logger;
  /** For tests. @default {systemClock} */
  readonly clock?: Clock;
  /** A number from 0 to below 1. @default {Math.random} */
  readonly random?: () => number;
}

/** Options of {@linkcode TokenKeeper.keep}. */
export interface KeepOptions {
  /** Ends the loop. */
  readonly signal: AbortSignal;
  /** Called with each new token, one call at a time. If it throws, the renewal counts as failed and is tried again. */
  onRenewed(token: GrantedToken): void;
}

/** A token, the request's own instant and the jitter drawn for it. */
interface HeldToken {
  readonly granted: GrantedToken;
  readonly sent: Instant;
  readonly jitterMs: number;
}

/**
 * One token: asked for once, then renewed by kubelet's rule (core/token_schedule.ts).
 *
 * A failed renewal of any kind, a service account that is gone included, keeps the old token and is tried again with
 * back-off, which gets shorter and louder as the expiry nears. Differs from kubelet in that the jitter is drawn once for
 * each token and not at each look.
 *
 * A service account that is deleted and made again, as all are whose etcd was wiped, ends the tokens of the old one without
 * a word. So every 30 to 60 s the server is asked for a token, by the one right that krun has for it: one of another account
 * has the held one renewed at once, any other is thrown away. A kubelet need not, since such a Pod is deleted.
 */
export class TokenKeeper {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #random: () => number;
  #held: HeldToken | undefined;
  #renewals = 0;
  #failures = 0;
  #failuresInARow = 0;
  #error: KrunError | undefined;
  /** When to try again, on the clock that never goes back; set by a failure and by the end of an outage. */
  #tryAtMs: number | undefined;
  /** When to see whether the service account is still the same one, on that clock. */
  #checkAtMs = 0;
  #told: { level: string; atMs: number } | undefined;
  /** Ends the sleep of the loop. */
  #wake = new AbortController();

  /** Asks for nothing yet. */
  constructor(readonly cluster: Pick<Cluster, "requestToken">, readonly ref: TokenRef, options: TokenKeeperOptions) {
    this.#log = options.log;
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
  }

  /**
   * Asks for the token, once.
   *
   * @throws {KrunError} as {@linkcode Cluster.requestToken}
   */
  async first(signal?: AbortSignal): Promise<GrantedToken> {
    this.#held = await this.#request(signal);
    return this.#held.granted;
  }

  /** The newest token. @throws {KrunError} `Internal` before {@linkcode TokenKeeper.first} has succeeded. */
  get current(): GrantedToken {
    return this.#holding().granted;
  }

  /**
   * Says that the API server was away since an instant of `elapsedMs` and is back, perhaps with its service accounts made
   * anew, which ends the tokens of the old ones: a token from before the outage is renewed at once.
   */
  serverIsBack(awaySinceElapsedMs: number): void {
    if (this.#holding().sent.elapsedMs > awaySinceElapsedMs) return;
    this.#tryAtMs = this.#clock.elapsedMs();
    this.#wake.abort();
  }

  /** Renews the token whenever it is due, until the signal aborts. Never rejects. Needs {@linkcode TokenKeeper.first}. */
  async keep({ signal, onRenewed }: KeepOptions): Promise<void> {
    while (!signal.aborted) {
      const waitMs = this.#dueInMs();
      const checkInMs = Math.max(this.#checkAtMs - this.#clock.elapsedMs(), 0);
      if (waitMs < 0) await this.#renew(signal, onRenewed);
      else if (checkInMs === 0 && this.#tryAtMs === undefined) await this.#check(signal);
      else await this.#sleep(Math.min(waitMs + 1, checkInMs || LOOK_MS, LOOK_MS), signal);
    }
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    this.#wake = new AbortController();
    await this.#clock.sleep(ms, AbortSignal.any([signal, this.#wake.signal]));
  }

  /** How it stands. Needs {@linkcode TokenKeeper.first}. */
  status(): TokenStatus {
    return {
      ...this.ref,
      expiresAtMs: Math.round(this.#clock.nowMs() + this.#leftMs()),
      renewals: this.#renewals,
      failures: this.#failures,
      ...(this.#error && { error: this.#error.message }),
    };
  }

  #holding(): HeldToken {
    if (this.#held) return this.#held;
    throw new KrunError("Internal", "Cannot use a token: it was not asked for yet", "report this as a fault of krun");
  }

  #instant(): Instant {
    return { nowMs: this.#clock.nowMs(), elapsedMs: this.#clock.elapsedMs() };
  }

  #leftMs(): number {
    const { granted, sent } = this.#holding();
    return grantedLifeMs(granted) - ageMs(sent, this.#instant());
  }

  /** Milliseconds until the next request; negative when it is due. */
  #dueInMs(): number {
    if (this.#tryAtMs !== undefined) return this.#tryAtMs - this.#clock.elapsedMs();
    const { granted, sent, jitterMs } = this.#holding();
    return renewalAgeMs(grantedLifeMs(granted), jitterMs) - ageMs(sent, this.#instant());
  }

  async #request(signal?: AbortSignal): Promise<HeldToken> {
    const sent = this.#instant();
    const granted = await this.cluster.requestToken(this.ref, signal ? { signal } : {});
    this.#checkAtMs = sent.elapsedMs + accountCheckMs(this.#random());
    return { granted, sent, jitterMs: renewalJitterMs(this.#random()) };
  }

  /** Finds out whether the service account is still that of the held token; if not, has it renewed. */
  async #check(signal: AbortSignal): Promise<void> {
    try {
      const { granted } = await this.#request(signal);
      if (accountUid(granted.token) === accountUid(this.current.token)) return;
      this.#log.info("service account was made anew", this.#fields());
      this.#tryAtMs = this.#clock.elapsedMs();
    } catch (error) {
      if (signal.aborted) return;
      const reason = foreseen("check a service account", error);
      this.#checkAtMs = this.#clock.elapsedMs() + accountRecheckMs(this.#random(), reason);
      // The held token is worthless from now on, which is a renewal's to tell and to mend.
      if (reason.code === "ServiceAccountNotFound") this.#tryAtMs = this.#clock.elapsedMs();
    }
  }

  async #renew(signal: AbortSignal, onRenewed: KeepOptions["onRenewed"]): Promise<void> {
    try {
      const held = await this.#request(signal);
      this.#held = held;
      onRenewed(held.granted);
    } catch (error) {
      // A renewal outlives even a fault of krun: the old token may be good for a long time yet.
      if (!signal.aborted) this.#failed(foreseen("renew a token", error));
      return;
    }
    this.#renewals++;
    this.#failuresInARow = 0;
    this.#tryAtMs = this.#error = this.#told = undefined;
    this.#log.info("token renewed", { ...this.#fields(), expires: new Date(this.status().expiresAtMs).toISOString() });
  }

  #failed(error: KrunError): void {
    this.#failures++;
    this.#failuresInARow++;
    this.#error = error;
    const leftMs = this.#leftMs();
    const failed = { failures: this.#failuresInARow, leftMs, chance: this.#random(), retryAfterMs: error.retryAfterMs };
    this.#tryAtMs = this.#clock.elapsedMs() + renewalRetryMs(failed);
    this.#tell(error, leftMs);
  }

  #tell(error: KrunError, leftMs: number): void {
    const { level, everyMs } = renewalAlarm(leftMs, grantedLifeMs(this.current));
    const atMs = this.#clock.elapsedMs();
    if (this.#told?.level === level && atMs - this.#told.atMs < everyMs) return;
    this.#told = { level, atMs };
    const left = leftMs > 0 ? `${Math.round(leftMs / 1000)}s` : "expired";
    this.#log[level]("token not renewed", { ...this.#fields(), left, reason: error.message });
  }

  #fields(): LogFields {
    const { namespace, serviceAccount, audience } = this.ref;
    return { serviceAccount: `${namespace}/${serviceAccount}`, audience: audience || undefined };
  }
}
