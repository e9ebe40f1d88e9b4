import assert from "node:assert/strict";
import fc from "fast-check";
import { matchesPattern } from "./ssh_pattern.ts";

/** The same by other means. */
function byExpression(text: string, pattern: string): boolean {
  const source = [...pattern].map((c) => c === "*" ? "[^]*" : c === "?" ? "[^]" : RegExp.escape(c)).join("");
  return new RegExp(`^${source}$`).test(text);
}

Deno.test("matchesPattern() does what the regular expression of the same meaning does", () => {
  const characters = fc.string({ unit: fc.constantFrom("a", "b", ".", "*", "?", "\\", "["), maxLength: 8 });
  fc.assert(
    fc.property(characters, characters, (text, pattern) => {
      assert.equal(matchesPattern(text, pattern), byExpression(text, pattern), `${text} ${pattern}`);
    }),
    { numRuns: 5000 },
  );
});

Deno.test("matchesPattern() is done in time with a pattern that is all stars", () => {
  assert.equal(matchesPattern("a".repeat(2000), "*a".repeat(500) + "b"), false);
  assert.equal(matchesPattern("a".repeat(2000), "*a".repeat(500)), true);
});
