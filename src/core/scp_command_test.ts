import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { quotedWord } from "./command_words.ts";
import { textOfPattern } from "./path_pattern.ts";
import { parseScpCommand, type ScpCommand, unexpandedInScp } from "./scp_command.ts";

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

Deno.test("unexpandedInScp() names the word that keeps a client's command from being read, and nothing of another command", () => {
  assert.equal(unexpandedInScp("scp -f $HOME/x"), "$HOME/x");
  assert.equal(unexpandedInScp('scp -v -pr -t -- ~/a "`id`"'), "`id`");
  assert.equal(unexpandedInScp("scp -f a;b"), "a;b");
  for (const line of ["scp -f ~/x*", "scp -f '$HOME/x'", "scp a $HOME", "rsync -f $HOME", "scp", "scp -f 'x"]) {
    assert.equal(unexpandedInScp(line), undefined, line);
  }
});
