import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import type { WatchedObject } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import { parseReference } from "./reference.ts";
import { type FoundObject, referenceValue } from "./reference_value.ts";

interface Input {
  readonly value: string;
  readonly found: { kind: "object"; object: WatchedObject } | { kind: "bytes"; bytes: string } | null;
}

type Expect =
  | { readonly text: string }
  /** Base64. */
  | { readonly bytes: string }
  | { readonly unset: true }
  | { readonly error: string; readonly says: string };

function foundOf(found: Input["found"]): FoundObject | undefined {
  if (found === null) return undefined;
  return found.kind === "object" ? found : { kind: "bytes", bytes: Uint8Array.fromBase64(found.bytes) };
}

for (const { id, why, input, expect } of loadVectors<Input, Expect>("reference_value")) {
  Deno.test(`referenceValue() ${id}: ${why}`, () => {
    const value = () =>
      referenceValue(parseReference("V", input.value), foundOf(input.found), { namespace: "shop" }).value;
    if ("unset" in expect) return assert.equal(value(), undefined);
    if ("text" in expect) return assert.deepEqual(value(), new TextEncoder().encode(expect.text));
    if ("bytes" in expect) return assert.deepEqual(value(), Uint8Array.fromBase64(expect.bytes));
    assert.throws(value, (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      assert.ok(error.message.startsWith("Cannot resolve V: "), error.message);
      assert.ok(error.message.includes(expect.says), error.message);
      return true;
    });
  });
}

Deno.test("referenceValue() quotes nothing of a value in an error", () => {
  const reference = fc.constantFrom("sm://demo/k", "sm://demo/k?json=.a", "sm://demo/k?json=.a&default=x");
  fc.assert(fc.property(reference, fc.uint8Array({ minLength: 6 }), (text, noise) => {
    const bytes = new Uint8Array([...new TextEncoder().encode("hunter2"), ...noise]);
    try {
      referenceValue(parseReference("V", text), { kind: "bytes", bytes }, { namespace: "shop" });
    } catch (error) {
      assert.ok(error instanceof KrunError);
      assert.ok(!`${error.message} ${error.hint} ${error.details}`.includes("hunter2"));
      assert.equal(error.cause, undefined);
    }
  }));
});
