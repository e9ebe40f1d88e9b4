/**
 * When a service account token is renewed. In: what the server granted, two clocks, chance. Out: ages, delays, loudness.
 *
 * The rule is kubelet's (Kubernetes v1.34 pkg/kubelet/token/token_manager.go): past 80 % of the granted life or 24 h.
 * Ages are counted from the request's own instant, not from the server's times, so that a machine whose clock disagrees
 * with the server's renews neither without end nor too late.
 *
 * @module
 */
import type { GrantedToken } from "./cluster.ts";
import type { KrunError } from "./errors.ts";
import { retryDelayMs } from "./retry_delay.ts";

/** One instant on both clocks of a machine (core/clock.ts), in milliseconds. */
export interface Instant {
  /** {@linkcode Clock.nowMs} */
  readonly nowMs: number;
  /** {@linkcode Clock.elapsedMs} */
  readonly elapsedMs: number;
}

const MAX_AGE_MS = 24 * 60 * 60 * 1000;
const MAX_JITTER_SECONDS = 10;
const FIRST_RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 10_000;
const LONGEST_RETRY_WHEN_EXPIRED_MS = 5_000;
const ACCOUNT_CHECK_MS = 60_000;
/** What bounds how late a Pod that follows no object notices that the server is back. */
const ACCOUNT_RECHECK_MS = 10_000;

/** Milliseconds of life that the server granted, which may be less than was asked. */
export function grantedLifeMs(token: GrantedToken): number {
  return token.expiresAtMs - token.issuedAtMs;
}

/**
 * How long ago an instant was, in milliseconds: the larger of what the two clocks say.
 *
 * A suspend or a jump forward shows on the wall clock only, a jump back leaves the other clock right; so a token is never
 * believed younger than it is.
 */
export function ageMs(then: Instant, now: Instant): number {
  return Math.max(now.nowMs - then.nowMs, now.elapsedMs - then.elapsedMs);
}

/**
 * The age in milliseconds past which a token is renewed: the smaller of 24 h and 80 % of its life, less the jitter.
 *
 * The jitter takes off at most half, so that a life of seconds (no API server grants one) is not asked for without pause.
 */
export function renewalAgeMs(lifeMs: number, jitterMs: number): number {
  const lastFifthMs = Math.floor((lifeMs / 1000) * 20 / 100) * 1000;
  const ruleMs = Math.min(MAX_AGE_MS, lifeMs - lastFifthMs);
  return Math.max(ruleMs - jitterMs, ruleMs / 2);
}

/** Whole seconds from 0 to 9, in milliseconds: what kubelet takes off. `chance` is from 0 to below 1. */
export function renewalJitterMs(chance: number): number {
  return Math.floor(chance * MAX_JITTER_SECONDS) * 1000;
}

/** What is known when a renewal has failed. */
export interface FailedRenewal {
  /** Failures in a row, this one included. */
  readonly failures: number;
  /** Milliseconds until the token expires; negative when it has. */
  readonly leftMs: number;
  /** From 0 to below 1. */
  readonly chance: number;
  /** Milliseconds the server asked to wait. */
  readonly retryAfterMs?: number | undefined;
}

/**
 * Milliseconds until the next try: doubling from 1 s to 10 s, a tenth of what is left when the expiry is nearer than that
 * (not below 1 s), at most 5 s once the token has expired; of these between half and all, by chance. A server that asks for
 * a wait gets it, up to a minute, on top.
 */
export function renewalRetryMs({ failures, leftMs, chance, retryAfterMs = 0 }: FailedRenewal): number {
  const limit = leftMs > 0 ? Math.max(leftMs / 10, FIRST_RETRY_MS) : LONGEST_RETRY_WHEN_EXPIRED_MS;
  return retryDelayMs(failures, {
    chance,
    firstMs: FIRST_RETRY_MS,
    maxMs: Math.min(LONGEST_RETRY_MS, limit),
    atLeastMs: retryAfterMs,
  });
}

/**
 * Milliseconds from the last token that the server gave until it is asked whether the service account is still the same one:
 * 30 to 60 s by chance. A server that refuses every token of an account that is gone tells nobody.
 */
export function accountCheckMs(chance: number): number {
  return ACCOUNT_CHECK_MS * (0.5 + chance / 2);
}

/** Milliseconds until the next check after one that failed: 5 to 10 s for what passes by itself, as long as ever for what does not. */
export function accountRecheckMs(chance: number, { transient, retryAfterMs: atLeastMs }: KrunError): number {
  const maxMs = transient ? ACCOUNT_RECHECK_MS : ACCOUNT_CHECK_MS;
  return retryDelayMs(1, { chance, firstMs: maxMs, maxMs, atLeastMs });
}

/** How a renewal that keeps failing is told. */
export interface RenewalAlarm {
  /** Of the log line. */
  readonly level: "warn" | "error";
  /** The same level is not logged again before this many milliseconds. */
  readonly everyMs: number;
}

/** `warn` at most every 5 min; in the last tenth of the life, and after it, `error` at most once a minute. */
export function renewalAlarm(leftMs: number, lifeMs: number): RenewalAlarm {
  if (leftMs < lifeMs / 10) return { level: "error", everyMs: 60_000 };
  return { level: "warn", everyMs: 300_000 };
}
