import assert from "node:assert/strict";
import { meshProgram } from "../mesh/mesh_programs.ts";
import { meshMachine } from "./mesh_machine.ts";

Deno.test("meshMachine() finds agent and Envoy where programs of the mesh are, by krun's own PATH", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/pilot-agent`, "", { mode: 0o755 });
    const self = { uid: 1000, gid: 1000, groups: [] };
    const machine = (PATH: string) =>
      meshMachine({ args: [], cwd: "/", pid: 1, self, writeError() {}, writeOutput() {}, env: { PATH } });
    for (const path of [folder, ""]) {
      const { agent, envoy, interceptionFault } = machine(path);
      assert.deepEqual([agent, envoy], [meshProgram("pilot-agent", path), meshProgram("envoy", path)]);
      assert.ok(interceptionFault, "nobody but root captures traffic");
    }
    assert.notEqual(machine(folder).agent, undefined);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
