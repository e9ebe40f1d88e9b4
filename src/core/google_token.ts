/**
 * Google's tokens: which are asked for, how long each is good for, and how a Pod's volume names one. In: settings, answers. Out:
 * requests and lives.
 *
 * @module
 */
import type { GrantedToken } from "./cluster.ts";

/** The scope of everything that IAM allows. */
export const CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform";

/** By it an access token says whose it is: without it RBAC would not know the account by its e-mail address. */
const EMAIL = "https://www.googleapis.com/auth/userinfo.email";

/** Scopes of krun's own requests. */
export const DEFAULT_SCOPES: readonly string[] = [CLOUD_PLATFORM, EMAIL];

/** What is asked for. */
export type GoogleTokenRequest =
  | { readonly kind: "access"; readonly scopes: readonly string[] }
  | { readonly kind: "identity"; readonly audience: string };

/** A token and when it ends. */
export interface GoogleToken {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAtMs: number;
}

/** Who gives them. */
export interface GoogleTokens {
  /**
   * A token that is fresh. Its life counts from this call on, whenever Google issued it: the metadata server hands out the same
   * one for most of its life.
   *
   * @throws {KrunError} `GoogleCredentialsUnavailable`, `GoogleForbidden`, `GoogleApiFailed`
   */
  grant(request: GoogleTokenRequest, options: { readonly signal?: AbortSignal | undefined }): Promise<GrantedToken>;
}

/** How long before its end a token is got anew, milliseconds, as in Google's libraries. */
const EARLY_MS = 5 * 60_000;

/** Until when a token is used, milliseconds since the epoch: one that came with less than 10 minutes to live, half of that. */
export function freshUntilMs(expiresAtMs: number, obtainedAtMs: number): number {
  const lifeMs = Math.max(expiresAtMs - obtainedAtMs, 0);
  return expiresAtMs - Math.min(EARLY_MS, lifeMs / 2);
}

/** Equal for equal requests. */
export function googleTokenId(request: GoogleTokenRequest): string {
  return request.kind === "access" ? `access ${request.scopes.toSorted().join(" ")}` : `identity ${request.audience}`;
}

/**
 * The audience by which a volume of krun's own asks for a Google token, as a service account's token is asked for. No cluster
 * sees it, and no other volume means it: `PlannedPod.googleTokens` says which volumes' are.
 */
export function googleTokenAudience(request: GoogleTokenRequest): string {
  return request.kind === "access"
    ? `google access token${request.scopes.join() === CLOUD_PLATFORM ? "" : ` for ${request.scopes.join(",")}`}`
    : `google ID token for ${request.audience}`;
}

/** Scopes as a setting lists them; a name without a slash is one of Google's. `undefined` when one can be none. */
export function readScopes(text: string): readonly string[] | undefined {
  const scopes = text.split(",").filter((scope) => scope !== "");
  if (scopes.length === 0 || !scopes.every((scope) => /^[A-Za-z0-9._~:/-]{1,200}$/.test(scope))) return undefined;
  return scopes.map((scope) => scope.includes("/") ? scope : `https://www.googleapis.com/auth/${scope}`);
}
