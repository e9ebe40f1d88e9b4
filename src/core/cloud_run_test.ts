import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { type CloudRunNames, type InstanceMetadata, instanceMetadata } from "./cloud_run.ts";

for (const v of loadVectors<{ names: CloudRunNames; id?: string }, InstanceMetadata>("cloud_run")) {
  Deno.test(`instanceMetadata() ${v.id}: ${v.why}`, () => {
    const { name, ...others } = instanceMetadata(v.input.names, v.input.id);
    assert.deepEqual({ ...(name !== undefined && { name }), ...others }, v.expect);
  });
}
