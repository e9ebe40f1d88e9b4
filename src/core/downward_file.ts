/**
 * The file in which a downwardAPI volume shows all labels or all annotations. In: the map. Out: the file's text.
 *
 * @module
 */
import { goQuote } from "./go_quote.ts";

/**
 * Lines `key="value"`, sorted by key, joined by a line feed, without one at the end; an empty map gives an empty text.
 *
 * The order is that of the bytes of the keys; labels and annotations have ASCII keys, for which JavaScript's own order of
 * strings is the same.
 *
 * Rule: pkg/fieldpath/fieldpath.go `FormatMap` of Kubernetes v1.34.
 *
 * @example
 * ```ts
 * import { downwardFile } from "./downward_file.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(downwardFile({ tier: "web", app: "shop" }), 'app="shop"\ntier="web"');
 * ```
 */
export function downwardFile(map: Readonly<Record<string, string>>): string {
  return Object.keys(map).sort().map((key) => `${key}=${goQuote(map[key]!)}`).join("\n");
}
