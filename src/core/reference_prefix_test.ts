import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { asksForOwnCluster, isNearlyReference, isReference } from "./reference_prefix.ts";

for (const { id, why, input, expect } of loadVectors<string, boolean>("reference_prefix")) {
  Deno.test(`isReference() ${id}: ${why}`, () => assert.equal(isReference(input), expect));
}

Deno.test("isReference() is false for every text that does not begin as one", () => {
  const any = fc.oneof(
    fc.string({ unit: "binary-ascii" }),
    fc.constantFrom("$SecretKeyRef:/a", "sm://p/s", "berglas://b/o"),
  );
  fc.assert(fc.property(fc.string({ unit: "binary-ascii" }), any, (before, after) => {
    const text = before + after;
    const begins = /^(?:\$SecretKeyRef:|\$ConfigMapKeyRef:|berglas:\/\/|sm:\/\/)/.test(text);
    assert.equal(isReference(text), begins);
  }));
});

Deno.test("isNearlyReference() is true for what was meant for a reference and is none", () => {
  for (
    const near of [
      "'$SecretKeyRef:/secrets/a/keys/b'",
      '"sm://p/s"',
      " berglas://b/o",
      "$SecretKeyref:/secrets/a/keys/b",
      "SM://p/s",
      "SecretKeyRef:/secrets/a/keys/b",
      ":/secrets/a/keys/b",
    ]
  ) assert.ok(isNearlyReference(near), near);
  for (const other of ["sm://p/s", "https://sm://x", "a:/secrets/a/keys/b", ":/secrets/a", "$Secret", ""]) {
    assert.ok(!isNearlyReference(other), other);
  }
});

Deno.test("asksForOwnCluster() is true for the short forms alone", () => {
  for (
    const own of [
      "$SecretKeyRef:/secrets/a/keys/b",
      "$ConfigMapKeyRef:configmaps/a/keys/b",
      "$SecretKeyRef:/namespaces/n/x",
    ]
  ) {
    assert.ok(asksForOwnCluster(own), own);
  }
  for (
    const other of [
      "$SecretKeyRef:/projects/p/x",
      "$SecretKeyRef:projects/p/x",
      "$SecretKeyRef:/contexts/c/x",
      "sm://p/s",
      "x",
    ]
  ) {
    assert.ok(!asksForOwnCluster(other), other);
  }
});
