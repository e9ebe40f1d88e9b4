import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { quotedWord, quotedWords, shellSyntax, textOfWord } from "./command_words.ts";

const commandWords = (line: string) => quotedWords(line)?.map(textOfWord);

for (const { id, why, input, expect } of loadVectors<string, string[] | null>("command_words")) {
  Deno.test(`quotedWords() ${id}: ${why}`, () => assert.deepEqual(commandWords(input) ?? null, expect));
}

Deno.test("quotedWord() is read again as the same word", () => {
  fc.assert(fc.property(fc.array(fc.string({ unit: "binary" })), (words) => {
    assert.deepEqual(commandWords(words.map(quotedWord).join(" ")), words);
  }));
});

Deno.test("quotedWords() takes any text", () => {
  fc.assert(fc.property(fc.string(), (text) => void commandWords(text)));
});

Deno.test("shellSyntax() names the first that only a shell can do, and nothing that is quoted", () => {
  const found = (line: string) => shellSyntax(quotedWords(line)!);
  for (
    const [line, expected] of [
      ["cd /etc && ls", "&&"],
      ["ls;pwd", ";"],
      ["app a||b", "||"],
      ["cat x | app", "|"],
      ["app >x 2>&1", ">"],
      ["app 2>&1", ">"],
      ["app >>x", ">>"],
      ["app <x", "<"],
      ["app http://x/?a=1&b=2", "&"],
      ["A_1=b app", "A_1="],
      ["A='b c'", "A="],
    ] as const
  ) assert.equal(found(line), expected, line);
  for (
    const line of [
      "",
      "app --env A=b",
      "app 'a;b' \"x|y\" c\\&d '>'",
      "'A'=b",
      "./A=b",
      "1A=b",
      "app $HOME *",
      "app (x)",
    ]
  ) assert.equal(found(line), undefined, line);
  fc.assert(fc.property(fc.array(fc.string({ unit: "binary" })), (words) => {
    assert.equal(found(words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ")), undefined);
  }));
});
