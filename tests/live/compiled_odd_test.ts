/** The tests of tests/odd_input_test.ts once more, with the compiled binary (Deno 2.6.10) in place of the source. */
import assert from "node:assert/strict";
import { useBinary } from "../krun_process.ts";
import { shell } from "../raw_bytes.ts";
import { Workspace } from "../workspace.ts";
import { compiledKrun } from "./compiled.ts";

useBinary(await compiledKrun());
await import("../odd_input_test.ts");

Deno.test("the runtime of a compiled krun ends before krun runs when an argument is no UTF-8, and nothing is started", async () => {
  await using workspace = await Workspace.create();
  const under = shell(`exec "$@" "$(printf 'q\\377')"`);
  const { code, stdout } = await workspace.run({ under, args: ["--", "/bin/echo", "never"] });
  assert.equal(code, 101);
  assert.equal(stdout, "");
});
