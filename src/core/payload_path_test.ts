import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { cleanPayloadPath } from "./payload_path.ts";

/** A path, or how to make a long one. */
type Text = string | { repeat: string; times: number; then: string };

function spelt(text: Text): string {
  return typeof text === "string" ? text : text.repeat.repeat(text.times) + text.then;
}

for (const { id, why, input, expect } of loadVectors<Text, Text | { error: string }>("payload_path")) {
  Deno.test(`cleanPayloadPath() ${id}: ${why}`, () => {
    if (typeof expect === "object" && "error" in expect) {
      assert.throws(() => cleanPayloadPath(spelt(input)), { code: expect.error });
    } else {
      assert.equal(cleanPayloadPath(spelt(input)), spelt(expect));
    }
  });
}

Deno.test("cleanPayloadPath() gives a path that stays inside and is its own clean form, or PathInvalid, when given any text", () => {
  const element = fc.oneof(fc.constantFrom("..", ".", "", "..x", "a", ".a"), fc.string());
  fc.assert(fc.property(fc.array(element).map((names) => names.join("/")), (path) => {
    let cleaned: string;
    try {
      cleaned = cleanPayloadPath(path);
    } catch (error) {
      assert.ok(error instanceof KrunError && error.code === "PathInvalid");
      return;
    }
    assert.equal(cleanPayloadPath(cleaned), cleaned);
    assert.ok(cleaned.split("/").every((name) => name !== "" && name !== "." && name !== ".."));
    assert.ok(!cleaned.startsWith(".."));
  }));
});
