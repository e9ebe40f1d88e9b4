import assert from "node:assert/strict";
import type { MeshMachine } from "../core/mesh_mode.ts";
import type { Env } from "../core/pod_inputs.ts";
import { parseSettings } from "../core/settings.ts";
import { meshProgram } from "../mesh/mesh_programs.ts";
import { mayIntercept, meshMachine } from "./mesh_machine.ts";

Deno.test("meshMachine() finds agent and Envoy where programs of the mesh are, by krun's own PATH", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/pilot-agent`, "", { mode: 0o755 });
    const self = { uid: 1000, gid: 1000, groups: [] };
    const machine = (PATH: string) =>
      meshMachine({ args: [], cwd: "/", pid: 1, self, writeError() {}, writeOutput() {}, env: { PATH } });
    for (const path of [folder, ""]) {
      const { agent, envoy } = machine(path);
      assert.deepEqual([agent, envoy], [meshProgram("pilot-agent", path), meshProgram("envoy", path)]);
    }
    assert.notEqual(machine(folder).agent, undefined);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("mayIntercept() is true for root with all programs, unless somebody wants it otherwise", () => {
  const all = { agent: "/a", envoy: "/e" };
  const may = (uid: number, machine: MeshMachine, env: Env = {}) =>
    mayIntercept({ self: { uid, gid: 0, groups: [] } }, parseSettings(env), machine);
  assert.equal(may(0, all), true);
  assert.equal(may(0, all, { MESH_MODE: "intercept" }), true);
  assert.equal(may(1000, all), false);
  assert.equal(may(0, { ...all, envoy: undefined }), false);
  assert.equal(may(0, { ...all, agent: undefined }), false);
  for (const env of [{ MESH_MODE: "proxy" }, { GATEWAY_NAME: "edge" }, { XDS_ADDR: "-" }]) {
    assert.equal(may(0, all, env), false, JSON.stringify(env));
  }
});
