/**
 * Reading what a JSON Web Token says of itself. Nothing is verified here: whoever gets the token does that.
 *
 * @module
 */

/** The uid of the service account whose token it is; `undefined` when it does not say. */
export function accountUid(token: string): unknown {
  const bound = jwtClaims(token)?.["kubernetes.io"] as { serviceaccount?: { uid?: unknown } } | null | undefined;
  return bound?.serviceaccount?.uid;
}

/** The claims of a compact JWT (RFC 7519); `undefined` when the text is not one. */
export function jwtClaims(token: string): Readonly<Record<string, unknown>> | undefined {
  const [, payload, , ...more] = token.split(".");
  if (payload === undefined || more.length > 0) return undefined;
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const claims: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === "object" && claims !== null ? claims as Record<string, unknown> : undefined;
  } catch {
    return undefined;
  }
}
