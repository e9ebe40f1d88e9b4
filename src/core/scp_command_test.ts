import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { quotedWord } from "./command_words.ts";
import { textOfPattern } from "./path_pattern.ts";
import { parseScpCommand, type ScpCommand } from "./scp_command.ts";

for (const { id, why, input, expect } of loadVectors<string, ScpCommand | null>("scp_command")) {
  Deno.test(`parseScpCommand() ${id}: ${why}`, () => assert.deepEqual(parseScpCommand(input) ?? null, expect));
}

Deno.test("parseScpCommand() reads a path that is quoted as that path, whatever it is", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }).filter((text) => !/[\r\n\0]/.test(text)), (path) => {
    const command = parseScpCommand(`scp -r -t -- ${quotedWord(path)}`);
    assert.deepEqual(command?.paths.map(({ pattern }) => textOfPattern(pattern)), [path]);
  }));
});

Deno.test("parseScpCommand() takes any text", () => {
  const parts = fc.array(fc.constantFrom("scp", " ", "-t", "-f", "x", "'", '"', "\\", "$", "~", "*", "--"));
  fc.assert(fc.property(parts, (texts) => void parseScpCommand(texts.join(""))));
  fc.assert(fc.property(fc.string(), (text) => void parseScpCommand(`scp -t ${text}`)));
});
