import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import type { DecidedMode, MeshMachine } from "./mesh_mode.ts";
import type { MeshMode } from "./mesh_settings.ts";
import { trafficDirectorMode } from "./traffic_director_mode.ts";

type Input = Partial<MeshMachine> & {
  readonly asked?: MeshMode;
  readonly gateway?: string;
  readonly scope?: string;
};

for (const { id, why, input, expect } of loadVectors<Input, DecidedMode | { error: string }>("traffic_director_mode")) {
  Deno.test(`trafficDirectorMode() ${id}: ${why}`, () => {
    const { agent, envoy, interceptionFault, asked: mode, gateway, scope } = input;
    const trafficDirector = { projectNumber: "1", scope };
    const decide = () => trafficDirectorMode({ agent, envoy, interceptionFault }, { mode, gateway, trafficDirector });
    if (!("error" in expect)) return assert.deepEqual(decide(), expect);
    assert.throws(decide, (error: unknown) => {
      assert.ok(error instanceof KrunError && error.code === "MeshUnavailable", String(error));
      assert.ok(error.message.includes(expect.error), error.message);
      return true;
    });
  });
}
