import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { hasSecondKey, mistakenLine, sortKeyText } from "./ssh_key_mistakes.ts";

for (
  const { id, why, input, expect } of loadVectors<{ text: string }, ReturnType<typeof sortKeyText>>("ssh_key_text")
) {
  Deno.test(`sortKeyText() ${id}: ${why}`, () => assert.deepEqual(sortKeyText(input.text), expect));
}

Deno.test("sortKeyText() leaves lines of keys as they are, and never says anything of what it takes out", () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----", "---- BEGIN SSH2 PUBLIC KEY ----", "\n"),
    fc.constantFrom("PRIVATE KEY-----", "ssh-rsa AAAA", btoa("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 of somebody")),
  );
  fc.assert(fc.property(fc.array(piece).map((pieces) => pieces.join("")), (given) => {
    const { text, faults } = sortKeyText(given);
    if (faults.length === 0) assert.equal(text, given);
    const lines = given.split("\n");
    assert.ok(text === "" || text.split("\n").every((line, at) => line === "" || line === lines[at]));
    for (const fault of faults) assert.match(fault, /^(?:is|has) [\w ,:.()-]+$/);
  }));
});

Deno.test("mistakenLine() knows a value that has no quotes, wherever the option stands", () => {
  const key = "ssh-ed25519 AAAAC3Nz ann";
  for (
    const [line, option] of [
      [`command=ls ${key}`, "command"],
      [`command=ls -l ${key}`, "command"],
      [`no-pty,command="a,b=\\"c\\"",from=10.0.0.1 ${key}`, "from"],
      [`expiry-time= ${key}`, "expiry-time"],
      [`command='ls' ${key}`, "command"],
    ] as const
  ) {
    assert.equal(
      mistakenLine(line),
      `the value of its option "${option}" wants double quotes, as ${option}="..."`,
      line,
    );
  }
  for (const line of [`command="a=b" ${key}`, `restrict,command="x" ${key}`, "command=ls", `restrict ${key} a=b`]) {
    assert.equal(mistakenLine(line), undefined, line);
  }
});

Deno.test("mistakenLine() knows nothing of a line that looks like nothing else", () => {
  for (
    const line of ["", "ssh-ed25519 AAAA", "restrict", "# x", "/+ab", 'command="a.pub" ssh-rsa AAAA', "AAAA", "no key"]
  ) {
    assert.equal(mistakenLine(line), undefined, line);
  }
  fc.assert(fc.property(fc.string(), (line) => void mistakenLine(line)));
});

Deno.test("hasSecondKey() sees a key in a comment, and no comment for a key", () => {
  for (const type of ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"]) {
    for (const before of ["", "ann@laptop ", "ann\\n"]) assert.ok(hasSecondKey(`${before}${type} AAAAC3Nz bob`));
  }
  for (const comment of ["", "ann", "ssh-key AAA", "my ssh-ed25519 key", "task-ssh AAAA", "AAAA"]) {
    assert.ok(!hasSecondKey(comment), comment);
  }
});
