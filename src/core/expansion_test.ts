import fc from "fast-check";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { expand, lookupIn } from "./expansion.ts";
import type { Env } from "./pod_inputs.ts";

for (const { id, why, input, expect } of loadVectors<{ text: string; env: Env }, string>("expansion")) {
  Deno.test(`expand() ${id}: ${why}`, () => assert.equal(expand(input.text, lookupIn(input.env)), expect));
}

/** Texts in which the characters that matter are frequent. */
const dollars = fc.string({ unit: fc.constantFrom("$", "(", ")", "A", "B", "é", "😀", "\n") });

Deno.test("expand() never throws and loses no text without a dollar", () => {
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    const plain = text.replaceAll("$", "");
    assert.equal(expand(plain, () => "x"), plain);
    expand(text, () => undefined);
  }));
});

Deno.test("expand() only halves dollars when no name is known", () => {
  fc.assert(fc.property(dollars, (text) => {
    assert.equal(expand(text, () => undefined).replaceAll("$", ""), text.replaceAll("$", ""));
  }));
});

Deno.test("expand() gives back a text whose dollars are doubled", () => {
  fc.assert(fc.property(dollars, (text) => {
    assert.equal(expand(text.replaceAll("$", "$$$$"), () => "x"), text);
  }));
});

Deno.test("expand() does what the rule says, character by character", () => {
  fc.assert(fc.property(dollars, (text) => {
    const env = { A: "1", "": "none", "A$": "$(A)", B: "" };
    assert.equal(expand(text, lookupIn(env)), expandByHand(text, env));
  }));
});

Deno.test("lookupIn() takes the first environment that has the name, also when its value is empty", () => {
  assert.equal(lookupIn({ A: "" }, { A: "2", B: "b" })("A"), "");
  assert.equal(lookupIn({ A: "" }, { A: "2", B: "b" })("B"), "b");
  assert.equal(lookupIn({}, {})("A"), undefined);
});

/** Facts 1.4, sentence by sentence: the slow twin that {@linkcode expand} is compared with. */
function expandByHand(text: string, env: Env): string {
  let out = "";
  for (let at = 0; at < text.length; at++) {
    const next = text[at + 1];
    if (text[at] !== "$" || next === undefined) {
      out += text[at];
    } else if (next === "$") {
      out += "$";
      at += 1;
    } else if (next === "(") {
      const close = text.indexOf(")", at);
      const name = text.slice(at + 2, close);
      out += close < 0 ? "$(" : Object.hasOwn(env, name) ? env[name] : `$(${name})`;
      at = close < 0 ? at + 1 : close;
    } else {
      out += `$${next}`;
      at += 1;
    }
  }
  return out;
}
