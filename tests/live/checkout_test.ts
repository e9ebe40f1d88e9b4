import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

/** What `deno task ok` runs before the tests, so that CI holds it too. */
Deno.test("deno task checks passes on the checkout: format, lint, types, docs", async () => {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["task", "checks"],
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
    env: { NO_COLOR: "1" },
  });
  const { code, stdout, stderr } = await command.output();
  const text = new TextDecoder();
  assert.equal(code, 0, text.decode(stdout) + text.decode(stderr));
});
