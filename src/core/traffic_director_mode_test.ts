import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { KrunError } from "./errors.ts";
import type { DecidedMode, MeshMachine } from "./mesh_mode.ts";
import type { MeshMode } from "./mesh_settings.ts";
import { trafficDirectorMode } from "./traffic_director_mode.ts";

type Input = Partial<Pick<MeshMachine, "agent" | "envoy">> & {
  readonly interceptionFault?: string;
  readonly asked?: MeshMode;
  readonly gateway?: string;
  readonly scope?: string;
};

for (const { id, why, input, expect } of loadVectors<Input, DecidedMode | { error: string }>("traffic_director_mode")) {
  Deno.test(`trafficDirectorMode() ${id}: ${why}`, () => {
    const { agent, envoy, interceptionFault, asked: mode, gateway, scope } = input;
    const trafficDirector = { projectNumber: "1", scope };
    const fault = interceptionFault === undefined
      ? undefined
      : new KrunError("InterceptionUnavailable", `Cannot intercept traffic: ${interceptionFault}`, "x");
    const machine = { agent, envoy, interceptionFault: fault };
    const decide = () => trafficDirectorMode(machine, { mode, gateway, trafficDirector });
    if (!("error" in expect)) return assert.partialDeepStrictEqual(decide(), expect);
    assert.throws(decide, (error: unknown) => {
      assert.ok(error instanceof KrunError, String(error));
      assert.ok(error.message.includes(expect.error), error.message);
      return true;
    });
  });
}
