/**
 * The words for a key that an object has not. In: the key, and the keys that there are. Out: text that names no value.
 *
 * @module
 */

/** A person reads no more names than these. */
const LISTED = 10;

/** `has no key "pasword" (it has "password", "username")`: what goes on after the object's name. */
export function lacksKey(key: string, keys: readonly string[]): string {
  const names = [...new Set(keys)].sort().map((name) => JSON.stringify(name));
  const more = names.length > LISTED ? ` and ${names.length - LISTED} more` : "";
  return `has no key "${key}" (it has ${names.slice(0, LISTED).join(", ") || "none"}${more})`;
}
