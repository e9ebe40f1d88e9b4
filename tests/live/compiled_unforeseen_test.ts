/** The tests of tests/unforeseen_test.ts once more, with a binary (Deno 2.6.10), and a failure that its runtime tells late. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { compileProgram } from "../../scripts/compile.ts";
import { liveTool } from "../../scripts/live_tools.ts";
import { runKrun, useBinary } from "../krun_process.ts";
import { Workspace } from "../workspace.ts";

const folder = await Deno.makeTempDir({ prefix: "krun-unforeseen-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));
const [deno, denort] = [await liveTool("deno-2.6"), await liveTool("denort-2.6")];
const entry = fileURLToPath(new URL("../programs/unforeseen.ts", import.meta.url));
const binary = await compileProgram({ entry, out: join(folder, "unforeseen"), deno, denort });
useBinary(binary);
await import("../unforeseen_test.ts");

Deno.test("A compiled krun says in one line, each time, that a program does not exist", async () => {
  await using workspace = await Workspace.create();
  for (let round = 0; round < 10; round++) {
    const { code, stderr } = await runKrun({ args: ["/nothing"], cwd: workspace.folder, env: { WHEN: "never" } });
    assert.equal(code, 127, stderr);
    assert.equal(stderr.match(/^krun: Cannot start program "\/nothing"/gm)?.length, 1, stderr);
  }
});
