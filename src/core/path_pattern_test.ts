import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { isWildcard, nameMatcher, patternOfText, textOfPattern } from "./path_pattern.ts";

for (
  const { id, why, input, expect } of loadVectors<{ pattern: string; names: string[] }, string[]>("path_pattern")
) {
  Deno.test(`nameMatcher() ${id}: ${why}`, () =>
    assert.deepEqual(input.names.filter(nameMatcher(input.pattern)), expect));
}

Deno.test("patternOfText() means that text alone", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (text, other) => {
    const pattern = patternOfText(text);
    assert.equal(isWildcard(pattern), false);
    assert.equal(textOfPattern(pattern), text);
    assert.equal(nameMatcher(pattern)(text), true);
    assert.equal(nameMatcher(pattern)(other), other === text);
  }));
});

Deno.test("nameMatcher() takes any pattern, and * with what is around it", () => {
  const odd = fc.string({ unit: fc.constantFrom("a", "b", "*", "?", "[", "]", "!", "^", "-", "\\", ".") });
  fc.assert(fc.property(odd, odd, (pattern, name) => {
    assert.equal(typeof nameMatcher(pattern)(name), "boolean");
    assert.equal(nameMatcher(`x*${patternOfText(name)}`)(`x${pattern}${name}`), true);
  }));
});

Deno.test("nameMatcher() needs no time without end for what has many stars and does not match", () => {
  assert.equal(nameMatcher("*a".repeat(2000) + "b")("a".repeat(255)), false);
  assert.equal(isWildcard("[".repeat(8192)), true);
  assert.equal(nameMatcher("[".repeat(8192))("x"), false);
});
