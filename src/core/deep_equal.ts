/**
 * Whether two values that a parser gave are the same.
 *
 * @module
 */

/** Same lists, and objects with the same fields in whatever order; all else by `Object.is`. */
export function isDeepStrictEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [ofA, ofB] = [Object.entries(a), Object.entries(b)];
  return ofA.length === ofB.length &&
    ofA.every(([key, value]) => Object.hasOwn(b, key) && isDeepStrictEqual(value, (b as Record<string, unknown>)[key]));
}
