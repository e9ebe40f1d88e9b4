import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import { type DecidedMode, type MeshMachine, meshMode } from "./mesh_mode.ts";
import type { Env } from "./pod_inputs.ts";
import { parseSettings } from "./settings.ts";

interface Input {
  readonly machine: { readonly agent?: string; readonly envoy?: string; readonly interceptionFault?: string };
  readonly env?: Env;
  readonly interceptionMode?: string;
}

interface Failure {
  readonly error: string;
  readonly says: string;
}

for (const { id, why, input, expect } of loadVectors<Input, DecidedMode | Failure>("mesh_mode")) {
  Deno.test(`meshMode() ${id}: ${why}`, () => {
    const { agent, envoy, interceptionFault: reason } = input.machine;
    const fault = reason === undefined
      ? undefined
      : new KrunError("InterceptionUnavailable", `Cannot intercept traffic: ${reason}`, "none");
    const machine: MeshMachine = { agent, envoy, interceptionFault: fault };
    const settings = parseSettings(input.env ?? {}).mesh;
    const decide = () => meshMode(machine, { settings, interceptionMode: input.interceptionMode });
    if (!("error" in expect)) {
      const { fault: passedOn, ...decided } = decide();
      assert.deepEqual(decided, expect);
      // Only what ruled interception out is worth telling of.
      return assert.equal(passedOn, decided.rule === reason ? fault : undefined);
    }
    assert.throws(decide, (error) => {
      assert.ok(error instanceof KrunError);
      assert.equal(error.code, expect.error);
      assert.ok(`${error.message}; ${error.hint}`.includes(expect.says), `${error.message}; ${error.hint}`);
      return true;
    });
  });
}
