import assert from "node:assert/strict";
import fc from "fast-check";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { parsePodManifest } from "./pod_manifest.ts";
import { withoutNulls } from "./shape.ts";

type Expect = { readonly warns: readonly string[] } | { readonly error: string; readonly says: string };

for (const { id, why, input, expect } of loadVectors<unknown, Expect>("pod_manifest")) {
  Deno.test(`parsePodManifest() ${id}: ${why}`, () => {
    if ("warns" in expect) {
      const { pod, warnings } = parsePodManifest(input, "pod.yaml");
      assert.deepEqual(warnings, expect.warns);
      assert.deepEqual(pod, withoutNulls(input));
      return;
    }
    assert.throws(() => parsePodManifest(input, "pod.yaml"), (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      assert.ok(error.message.startsWith('Cannot read Pod "pod.yaml": '), error.message);
      assert.ok(`${error.message}; ${error.hint}`.includes(expect.says), error.message);
      return true;
    });
  });
}

Deno.test("parsePodManifest() throws nothing but PodInvalid when given any data", () => {
  const anything = fc.anything({ maxDepth: 4 });
  const near = fc.record({
    apiVersion: fc.constant("v1"),
    kind: fc.constant("Pod"),
    metadata: fc.option(fc.record({ name: anything, labels: anything }, { requiredKeys: [] })),
    spec: fc.record({
      containers: fc.array(fc.record({ name: fc.constantFrom("a", "b"), env: anything, volumeMounts: anything }, {
        requiredKeys: ["name"],
      })),
      volumes: fc.oneof(anything, fc.array(fc.record({ name: fc.constantFrom("a", "b"), secret: anything }))),
    }, { requiredKeys: ["containers"] }),
  });
  fc.assert(fc.property(fc.oneof(anything, near), (data) => {
    try {
      parsePodManifest(data, "x");
    } catch (error) {
      assert.ok(error instanceof KrunError && error.code === "PodInvalid", String(error));
      assert.doesNotMatch(error.message, /[\n\0]/);
    }
  }));
});
