import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { commandWords, quotedWord } from "./command_words.ts";

for (const { id, why, input, expect } of loadVectors<string, string[] | null>("command_words")) {
  Deno.test(`commandWords() ${id}: ${why}`, () => assert.deepEqual(commandWords(input) ?? null, expect));
}

Deno.test("quotedWord() is read again as the same word", () => {
  fc.assert(fc.property(fc.array(fc.string({ unit: "binary" })), (words) => {
    assert.deepEqual(commandWords(words.map(quotedWord).join(" ")), words);
  }));
});

Deno.test("commandWords() takes any text", () => {
  fc.assert(fc.property(fc.string(), (text) => void commandWords(text)));
});
