/**
 * Which values are references. In: the value of a variable. Out: whether it is one, by its first bytes alone.
 *
 * All that a start without references loads of them; what a reference says is `reference.ts`.
 *
 * @module
 */

/** How a value begins that is a reference, and which system it is of. */
export const REFERENCE_PREFIXES = {
  Secret: "$SecretKeyRef:",
  ConfigMap: "$ConfigMapKeyRef:",
  storage: "berglas://",
  secretManager: "sm://",
} as const;

const PREFIXES: readonly string[] = Object.values(REFERENCE_PREFIXES);

/**
 * Whether a value is a reference: it begins as one, at its first byte and in this spelling. What only holds one inside, or begins
 * with a blank, a quotation mark or other letters, is none.
 */
export function isReference(value: string): boolean {
  return PREFIXES.some((prefix) => value.startsWith(prefix));
}

/**
 * Whether a value is none, and was meant for one: it has quotation marks or blanks before it, as `docker --env-file` leaves them, other
 * letters, or is what a shell has left of `$SecretKeyRef:/secrets/...`.
 */
export function isNearlyReference(value: string): boolean {
  if (isReference(value)) return false;
  return /^[\s"']*(?:\$?(?:secret|configmap)keyref:|berglas:\/\/|sm:\/\/)/i.test(value) ||
    /^["']?:\/?(?:secrets|configmaps|namespaces|contexts|projects)\/.+\/keys\//.test(value);
}

/** Whether a reference means the workload's own cluster, so that it asks for one. */
export function asksForOwnCluster(value: string): boolean {
  return /^\$(?:Secret|ConfigMap)KeyRef:(?!\/?(?:projects|contexts)\/)/.test(value);
}
