import fc from "fast-check";
import assert from "node:assert/strict";
import { JsonLines } from "./json_lines.ts";

Deno.test("JsonLines.push() gives the same values however the bytes are cut", () => {
  const cuts = fc.array(fc.nat(400), { maxLength: 12 });
  fc.assert(fc.property(fc.array(fc.jsonValue(), { maxLength: 6 }), cuts, (values, cutsAt) => {
    const bytes = new TextEncoder().encode(values.map((value) => `${JSON.stringify(value)}\n`).join(""));
    const lines = new JsonLines();
    const at = [0, ...cutsAt.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b), bytes.length];
    const found = at.slice(1).flatMap((end, i) => lines.push(bytes.slice(at[i], end)));
    assert.equal(JSON.stringify(found), JSON.stringify(values));
  }));
});

Deno.test("JsonLines.push() keeps a rest although its buffer is used again", () => {
  const lines = new JsonLines();
  const buffer = new TextEncoder().encode('{"a":1');
  assert.deepEqual(lines.push(buffer), []);
  buffer.fill(0);
  assert.deepEqual(lines.push(new TextEncoder().encode("}\n")), [{ a: 1 }]);
});

Deno.test("JsonLines.push() passes over empty lines and throws for what is not JSON", () => {
  const lines = new JsonLines();
  assert.deepEqual(lines.push(new TextEncoder().encode("\n\r\n1\n")), [1]);
  const broken = new TextEncoder().encode('{"password": t0ps3cret}\n');
  assert.throws(() => lines.push(broken), { name: "SyntaxError", message: "a line is not JSON" });
});
