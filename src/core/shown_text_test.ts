import assert from "node:assert/strict";
import fc from "fast-check";
import { textOfBytes } from "./byte_text.ts";
import { shownText } from "./shown_text.ts";

Deno.test("shownText() leaves nothing that a terminal obeys, and all else as it is", () => {
  assert.equal(shownText("a\x1b]0;owned\x07\r\n\x9b1m\x7f é 猫"), "a?]0;owned????1m? é 猫");
  assert.equal(shownText(textOfBytes(Uint8Array.of(0x61, 0xff))), "a?");
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => assert.doesNotMatch(shownText(text), /\p{Cc}/u)),
  );
});
