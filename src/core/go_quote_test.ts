import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { goQuote } from "./go_quote.ts";

for (const { id, why, input, expect } of loadVectors<string, string>("go_quote")) {
  Deno.test(`goQuote() ${id}: ${why}`, () => assert.equal(goQuote(input), expect));
}

Deno.test("goQuote() writes U+FFFD for a lone surrogate", () => {
  assert.equal(goQuote("a\ud800b\udc00"), '"a\ufffdb\ufffd"');
});

Deno.test("goQuote() gives one line of printable characters that reads back as the text", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const quoted = goQuote(text);
    assert.match(quoted, /^"[\p{L}\p{M}\p{N}\p{P}\p{S} ]*"$/u);
    assert.equal(unquote(quoted), text);
  }));
});

/** Go's rules the other way round: https://go.dev/ref/spec#String_literals */
function unquote(quoted: string): string {
  const short: Record<string, string> = { a: "\x07", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t", v: "\v" };
  return quoted.slice(1, -1).replace(
    /\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/gu,
    (_part, x?: string, u?: string, U?: string, character?: string) =>
      character === undefined
        ? String.fromCodePoint(Number.parseInt((x ?? u ?? U)!, 16))
        : short[character] ?? character,
  );
}
