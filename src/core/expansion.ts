/**
 * `$(NAME)` in the text of a Pod. In: a text and a way to look names up. Out: the text with the known names replaced.
 *
 * @module
 */
import type { Env } from "./pod_inputs.ts";

/** The parts of a text, tried in this order: an escaped dollar, a whole reference, and (not matched) everything else. */
const PART = /\$(?:\$|\(([^)]*)\))/g;

/**
 * Replaces each `$(NAME)` by what `lookup` gives for it; a name for which it gives `undefined` stays as it is written.
 *
 * One pass from left to right: replaced text is not scanned again. `$$` is one `$`. A name is everything up to the first
 * `)`, so `$(A$(B))` asks for `A$(B`. There is no nesting, no default and no escape but `$$`. Never throws.
 *
 * Rule: third_party/forked/golang/expansion/expand.go of Kubernetes v1.34.
 *
 * @example
 * ```ts
 * import { expand } from "./expansion.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(expand("$(A) $(B) $$(A)", (name) => name === "A" ? "1" : undefined), "1 $(B) $(A)");
 * ```
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(PART, (part, name?: string) => name === undefined ? "$" : lookup(name) ?? part);
}

/** A lookup for {@linkcode expand}: the value in the first environment that has the name. */
export function lookupIn(...environments: readonly Env[]): (name: string) => string | undefined {
  // Object.hasOwn, since `$(constructor)` must not find what every object inherits.
  return (name) => environments.find((env) => Object.hasOwn(env, name))?.[name];
}

/** Text that {@linkcode expand} turns back into `text`, byte for byte. */
export function withoutExpansion(text: string): string {
  return text.replaceAll(/\$(?=[$(])/g, "$$$$");
}
