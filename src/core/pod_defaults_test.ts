import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { fieldAt } from "../../tests/field_at.ts";
import { loadVectors } from "../../tests/vectors.ts";
import { defaultPod, type PodDefaultsOptions } from "./pod_defaults.ts";

interface Input extends PodDefaultsOptions {
  readonly pod: V1Pod;
}

for (const { id, why, input, expect } of loadVectors<Input, Record<string, unknown>>("pod_defaults")) {
  Deno.test(`defaultPod() ${id}: ${why}`, () => {
    const { pod, ...options } = input;
    const given = structuredClone(pod);
    const found = defaultPod(pod, options);
    for (const [path, value] of Object.entries(expect)) assert.deepEqual(fieldAt(found, path), value, path);
    assert.deepEqual(pod, given, "the Pod that was given is not changed");
    assert.deepEqual(defaultPod(found, options), found, "a Pod with all defaults stays as it is");
  });
}
