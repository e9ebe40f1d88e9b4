/**
 * A login with a Kubernetes identity: a service account token that is good for nothing else. In: what the client has pasted. Out: who it
 * is, or why they may not come in.
 *
 * Whoever may create `pods/exec` in the namespace could look into a Pod there, and may look into this workload. Rules: TokenReview
 * (authentication.k8s.io/v1), SubjectAccessReview (authorization.k8s.io/v1).
 *
 * @module
 */
import { AnySignal } from "../core/any_signal.ts";
import type { Clock } from "../core/clock.ts";
import type { Cluster } from "../core/cluster.ts";
import { KrunError } from "../core/errors.ts";
import { jwtClaims } from "../core/jwt.ts";
import type { Turns } from "../core/turns.ts";

/** Options of {@linkcode judgeToken}. */
export interface TokenLoginOptions {
  readonly cluster: Pick<Cluster, "reviewToken" | "accessOf">;
  /** The workload's. */
  readonly namespace: string;
  readonly signal: AbortSignal;
  /** For all who come at once: whoever can connect could else have krun ask the API server as often as they like. */
  readonly turns: Turns;
  readonly clock: Clock;
}

/** How long the API server may take to judge a token, the wait for its turn too, milliseconds: somebody waits at a prompt. */
const REVIEW_MS = 5_000;

/** Who it is, or why they are refused: for the log, never with the token. */
export type TokenLogin =
  | { readonly allowed: true; readonly username: string; readonly expiresAtMs?: number }
  | { readonly allowed: false; readonly reason: string; readonly username?: string };

/** The audience of tokens that open a workload of a namespace. */
export function sshAudience(namespace: string): string {
  return `krun-ssh/${namespace}`;
}

/**
 * Judges a token. One that is also for anybody else is refused before it goes anywhere: krun must not be handed what opens the
 * API server.
 *
 * @throws {KrunError} as `Cluster.reviewToken`; `ClusterUnreachable` where the API server has not answered within 5 seconds
 */
export async function judgeToken(token: string, options: TokenLoginOptions): Promise<TokenLogin> {
  const audience = sshAudience(options.namespace);
  const audiences = audiencesOf(token);
  if (audiences.length !== 1 || audiences[0] !== audience) {
    const found = audiences.length === 0 ? "no audience" : `the audience ${audiences.join(", ").slice(0, 200)}`;
    return { allowed: false, reason: `it has ${found}, and must have ${audience} alone` };
  }
  const limit = options.clock.deadline(REVIEW_MS);
  using either = new AnySignal([options.signal, limit]);
  return await Promise.race([review(token, { ...options, signal: either.signal }), unanswered(limit)]);
}

async function review(
  token: string,
  { cluster, namespace, signal, turns }: Omit<TokenLoginOptions, "clock">,
): Promise<TokenLogin> {
  using _turn = await turns.take();
  signal.throwIfAborted();
  const verdict = await cluster.reviewToken(token, { audience: sshAudience(namespace), signal });
  if (!verdict.authenticated) return { allowed: false, reason: verdict.reason };
  const { user, user: { username } } = verdict;
  const access = { verb: "create", resource: "pods/exec", namespace } as const;
  const { allowed, reason } = await cluster.accessOf({ user, ...access }, { signal });
  // Of a token that was reviewed it is what the API server goes by.
  const { exp } = jwtClaims(token) ?? {};
  if (allowed) return { allowed: true, username, ...(typeof exp === "number" && { expiresAtMs: exp * 1000 }) };
  const why = `may not create pods/exec in namespace "${namespace}"${reason && `: ${reason}`}`;
  return { allowed: false, reason: why, username };
}

function unanswered(limit: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    limit.addEventListener("abort", () => {
      const message = `Cannot review a token: the API server has not answered within ${REVIEW_MS / 1000} s`;
      reject(new KrunError("ClusterUnreachable", message, "log in with a key until it does"));
    }, { once: true });
  });
}

/** Of a token that is none, or has none: empty. */
function audiencesOf(token: string): string[] {
  const aud = jwtClaims(token)?.aud;
  const list = Array.isArray(aud) ? aud : aud === undefined ? [] : [aud];
  return list.every((one): one is string => typeof one === "string") ? list : [];
}
