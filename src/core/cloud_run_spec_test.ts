import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { deployedEnv, type DescribedRun } from "./cloud_run_spec.ts";
import type { Env } from "./pod_inputs.ts";

interface Input {
  readonly run: DescribedRun;
  readonly own: Env;
}

for (const { id, why, input, expect } of loadVectors<Input, Env>("deployed_env")) {
  Deno.test(`deployedEnv() ${id}: ${why}`, () => assert.deepEqual(deployedEnv(input.run, input.own), expect));
}
