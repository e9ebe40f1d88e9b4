/**
 * A login with a Kubernetes identity: a service account token that is good for nothing else. In: what the client has pasted. Out: who it
 * is, or why they may not come in.
 *
 * Whoever may create `pods/exec` in the namespace could look into a Pod there, and may look into this workload. Rules: TokenReview
 * (authentication.k8s.io/v1), SubjectAccessReview (authorization.k8s.io/v1).
 *
 * @module
 */
import type { Cluster } from "../core/cluster.ts";
import { jwtClaims } from "../core/jwt.ts";
import type { Turns } from "./turns.ts";

/** Options of {@linkcode judgeToken}. */
export interface TokenLoginOptions {
  readonly cluster: Pick<Cluster, "reviewToken" | "accessOf">;
  /** The workload's. */
  readonly namespace: string;
  readonly signal: AbortSignal;
  /** For all who come at once: whoever can connect could else have krun ask the API server as often as they like. */
  readonly turns: Turns;
}

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
 * @throws {KrunError} as `Cluster.reviewToken`
 */
export async function judgeToken(token: string, options: TokenLoginOptions): Promise<TokenLogin> {
  const { cluster, namespace, signal, turns } = options;
  const audience = sshAudience(namespace);
  const audiences = audiencesOf(token);
  if (audiences.length !== 1 || audiences[0] !== audience) {
    const found = audiences.length === 0 ? "no audience" : `the audience ${audiences.join(", ").slice(0, 200)}`;
    return { allowed: false, reason: `it has ${found}, and must have ${audience} alone` };
  }
  using _turn = await turns.take();
  signal.throwIfAborted();
  const verdict = await cluster.reviewToken(token, { audience, signal });
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

/** Of a token that is none, or has none: empty. */
function audiencesOf(token: string): string[] {
  const aud = jwtClaims(token)?.aud;
  const list = Array.isArray(aud) ? aud : aud === undefined ? [] : [aud];
  return list.every((one): one is string => typeof one === "string") ? list : [];
}
