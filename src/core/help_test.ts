import assert from "node:assert/strict";
import { assertGolden } from "../../tests/golden.ts";
import { parseCommandLine } from "./command_line.ts";
import { helpText } from "./help.ts";
import { SETTINGS } from "./settings_table.ts";

Deno.test("helpText() is what tests/testdata/golden/help.txt holds", () => assertGolden("help.txt", helpText()));

Deno.test("helpText() names every setting, in lines of at most 100 columns", () => {
  const lines = helpText().split("\n");
  for (const { env } of SETTINGS) {
    assert.ok(lines.some((line) => line === `  ${env}` || line.startsWith(`  ${env}=`)), env);
  }
  assert.deepEqual(lines.filter((line) => line.length > 100), []);
});

Deno.test("helpText() names the options that parseCommandLine() takes, and no other", () => {
  for (const [, option = ""] of helpText().matchAll(/^ {2}(--\S+)/gm)) {
    assert.notEqual(parseCommandLine(option === "--connect" ? [option, "web"] : [option]).action, "run", option);
  }
});
