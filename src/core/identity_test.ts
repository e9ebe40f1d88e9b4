import assert from "node:assert/strict";
import type { V1Pod } from "@kubernetes/client-node";
import { loadVectors } from "../../tests/vectors.ts";
import type { ClusterSource } from "./cluster.ts";
import { KrunError } from "./errors.ts";
import { type Identity, workloadIdentity } from "./identity.ts";
import type { WorkloadSettings } from "./settings.ts";

interface Input {
  readonly workload: WorkloadSettings;
  readonly source?: ClusterSource;
  readonly manifest?: V1Pod;
}

interface Failure {
  readonly error: string;
  readonly says: string;
}

for (const { id, why, input, expect } of loadVectors<Input, Identity | Failure>("identity")) {
  Deno.test(`workloadIdentity() ${id}: ${why}`, () => {
    const { workload, source } = input;
    const manifest = input.manifest && { pod: input.manifest, warnings: [] };
    const decide = () => workloadIdentity(workload, { manifest, source });
    if (!("error" in expect)) return assert.deepEqual(decide(), expect);
    assert.throws(decide, (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      assert.ok(`${error.message}; ${error.hint}`.includes(expect.says), `${error.message}; ${error.hint}`);
      return true;
    });
  });
}
