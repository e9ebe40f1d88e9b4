import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { isWildcard, nameMatcher, pathParts, patternOfText, textOfPattern } from "./path_pattern.ts";

for (
  const { id, why, input, expect } of loadVectors<{ pattern: string; names: string[] }, string[]>("path_pattern")
) {
  Deno.test(`nameMatcher() ${id}: ${why}`, () =>
    assert.deepEqual(input.names.filter(nameMatcher(input.pattern)!), expect));
}

Deno.test("patternOfText() means that text alone", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), (text, other) => {
    const pattern = patternOfText(text);
    assert.equal(isWildcard(pattern), false);
    assert.equal(textOfPattern(pattern), text);
    assert.equal(nameMatcher(pattern)!(text), true);
    assert.equal(nameMatcher(pattern)!(other), other === text);
  }));
});

Deno.test("nameMatcher() takes any pattern, and * with what is around it", () => {
  const odd = fc.string({ unit: fc.constantFrom("a", "b", "*", "?", "[", "]", "!", "^", "-", "\\", ".") });
  fc.assert(fc.property(odd, odd, (pattern, name) => {
    assert.equal(typeof nameMatcher(pattern)!(name), "boolean");
    assert.equal(nameMatcher(`x*${patternOfText(name)}`)!(`x${pattern}${name}`), true);
  }));
});

Deno.test("nameMatcher() refuses what no name is long enough for, and takes what just one is", () => {
  for (const one of ["a", "?", "[abc]", "\\*", "[", "*a"]) {
    assert.equal(nameMatcher(one.repeat(256)), undefined, one);
    assert.notEqual(nameMatcher(one.repeat(255)), undefined, one);
  }
  assert.equal(nameMatcher("*".repeat(8000))!("x"), true);
  assert.equal(nameMatcher("[a".repeat(127))!("[a".repeat(127)), true);
});

Deno.test("pathParts() makes one text of all names that are no wildcards, and joined they are the whole", () => {
  assert.deepEqual(pathParts("/a//b\\*/c*d/e/f/[g]" + "/h".repeat(4000)), [
    { text: "/a//b*/" },
    { wildcard: "c*d" },
    { text: "/e/f/" },
    { wildcard: "[g]" },
    { text: "/h".repeat(4000) },
  ]);
  fc.assert(fc.property(fc.string({ unit: fc.constantFrom("a", "*", "/", "[", "\\") }), (pattern) => {
    const parts = pathParts(pattern);
    const joined = parts.map((part) => "text" in part ? part.text : textOfPattern(part.wildcard)).join("");
    assert.equal(joined, pattern.split(/(\/+)/).map(textOfPattern).join(""));
    assert.ok(parts.every((part, index) => index === 0 || !("text" in part && "text" in parts[index - 1]!)));
  }));
});
