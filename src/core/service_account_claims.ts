/**
 * What a service account token says. In: for whom, for what audience, for how long. Out: the claims of the JWT.
 *
 * @module
 */

/** What a token is asked for. */
export interface TokenClaimsInput {
  /** Who signs. */
  readonly issuer: string;
  readonly namespace: string;
  readonly serviceAccount: string;
  /** The service account's own. */
  readonly uid: string;
  /** Empty: the issuer itself, as an API server without `--api-audiences` has it. */
  readonly audience: string;
  /** Seconds since the epoch. */
  readonly issuedAt: number;
  /** Seconds of life. */
  readonly expirationSeconds: number;
  /** A name that no other token has. */
  readonly id: string;
}

/** The claims of a service account token that is bound to no object. */
export interface TokenClaims {
  readonly aud: readonly [string];
  readonly exp: number;
  readonly iat: number;
  readonly nbf: number;
  readonly iss: string;
  readonly jti: string;
  readonly sub: string;
  readonly "kubernetes.io": {
    readonly namespace: string;
    readonly serviceaccount: { readonly name: string; readonly uid: string };
  };
}

/** The claims an API server signs: pkg/serviceaccount/claims.go of Kubernetes v1.34. */
export function serviceAccountClaims(input: TokenClaimsInput): TokenClaims {
  const { issuer, namespace, serviceAccount, uid, audience, issuedAt, expirationSeconds, id } = input;
  return {
    aud: [audience || issuer],
    exp: issuedAt + expirationSeconds,
    iat: issuedAt,
    nbf: issuedAt,
    iss: issuer,
    jti: id,
    sub: `system:serviceaccount:${namespace}:${serviceAccount}`,
    "kubernetes.io": { namespace, serviceaccount: { name: serviceAccount, uid } },
  };
}

/** Seconds of life that an API server grants: below and above, it answers 422. */
export function isTokenLife(expirationSeconds: number): boolean {
  return Number.isInteger(expirationSeconds) && expirationSeconds >= 600 && expirationSeconds <= 2 ** 32;
}
