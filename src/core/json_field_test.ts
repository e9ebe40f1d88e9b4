import assert from "node:assert/strict";
import fc from "fast-check";
import { jsonField, type JsonStep, parseJsonPath } from "./json_field.ts";

Deno.test("parseJsonPath() reads names, indices and quoted names, and nothing else", () => {
  assert.deepEqual(parseJsonPath(".a"), ["a"]);
  assert.deepEqual(parseJsonPath(".a.b[0]"), ["a", "b", 0]);
  assert.deepEqual(parseJsonPath('["a.b"].c["\\"]"]'), ["a.b", "c", '"]']);
  for (const none of ["", ".", "a", ".a.", "..a", "[x]", "[-1]", '["a]', ".a[", " .a"]) {
    assert.equal(parseJsonPath(none), undefined, none);
  }
});

Deno.test("parseJsonPath() reads back every path that it could be given", () => {
  const step = fc.oneof(fc.string({ unit: "grapheme" }), fc.nat(999));
  fc.assert(fc.property(fc.array(step, { minLength: 1 }), (steps: JsonStep[]) => {
    const text = steps.map((one) => typeof one === "number" ? `[${one}]` : `[${JSON.stringify(one)}]`).join("");
    assert.deepEqual(parseJsonPath(text), steps);
  }));
});

Deno.test("jsonField() gives a string as it is, and everything else as JSON, numbers digit by digit", () => {
  const text =
    '{"s":"a\\nb","n":12345678901234567890,"f":1.50,"t":true,"o":{"z":1.0,"a":[1, 2]},"l":["x",{"y":"z"}],"":"e"}';
  const field = (...path: JsonStep[]) => jsonField(text, path);
  assert.equal(field("s"), "a\nb");
  assert.equal(field("n"), "12345678901234567890");
  assert.equal(field("f"), "1.50");
  assert.equal(field("t"), "true");
  assert.equal(field("o"), '{"z":1.0,"a":[1,2]}');
  assert.equal(field("l", 1, "y"), "z");
  assert.equal(field(""), "e");
});

Deno.test("jsonField() has nothing where there is no such field, or it is null; an object's own fields only", () => {
  const text = '{"a":null,"l":[1]}';
  for (const path of [["a"], ["b"], ["l", 1], ["l", "0"], ["l", "length"], ["constructor"], ["toString"], ["a", "b"]]) {
    assert.equal(jsonField(text, path), undefined, path.join());
  }
});

Deno.test("jsonField() tells in fixed words that a text is not JSON", () => {
  for (const text of ["hunter2", '{"password":"hunter2"', ""]) {
    assert.throws(() => jsonField(text, ["a"]), (error) => {
      assert.ok(error instanceof SyntaxError && error.message === "it is not JSON" && error.cause === undefined);
      return true;
    });
  }
});
