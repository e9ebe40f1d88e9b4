import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { type GoogleFailure, parseGoogleFailure, roleFor } from "./google_error.ts";

for (const { id, why, input, expect } of loadVectors<{ text: string }, GoogleFailure>("google_failure")) {
  Deno.test(`parseGoogleFailure() ${id}: ${why}`, () => {
    const { status = null, ...failure } = parseGoogleFailure(input.text);
    const { permission, ...others } = failure;
    assert.deepEqual({ status, ...others, ...("permission" in expect && { permission }) }, expect);
  });
}

Deno.test("parseGoogleFailure() throws nothing when given any text, and gives one line", () => {
  const text = fc.oneof(
    fc.string(),
    fc.json(),
    fc.record({ error: fc.anything() }).map((value) => JSON.stringify(value) ?? ""),
  );
  fc.assert(fc.property(text, (any) => assert.doesNotMatch(parseGoogleFailure(any).message, /\n/)));
});

Deno.test("roleFor() names the smallest role where it knows one, else the permission", () => {
  assert.equal(roleFor("container.clusters.list"), "roles/container.clusterViewer");
  assert.equal(roleFor("toString"), "a role with toString");
});
