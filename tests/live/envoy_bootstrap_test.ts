/** krun's own template of Envoy's bootstrap beside Istio's, and before the real Envoy. */
import assert from "node:assert/strict";
import { liveTool } from "../../scripts/live_tools.ts";
import { envoyBootstrapTemplate } from "../../src/core/envoy_bootstrap.ts";
import { bootstrapValues, filledBootstrap } from "../filled_bootstrap.ts";

Deno.test("envoyBootstrapTemplate() asks the agent for no value that Istio's own template does not ask for", async () => {
  const istios = bootstrapValues(await Deno.readTextFile(await liveTool("envoy-bootstrap")));
  const ours = bootstrapValues(envoyBootstrapTemplate());
  assert.ok(ours.size > 10);
  assert.deepEqual([...ours].filter((name) => !istios.has(name)), []);
});

Deno.test("envoyBootstrapTemplate() is a bootstrap for the real Envoy; one with a field that Envoy does not know is none", async () => {
  const text = filledBootstrap(envoyBootstrapTemplate());
  assert.deepEqual(await validate(text), [0, ""]);
  const [code, output] = await validate(text.replace('"circuit_breakers"', '"circuit_brakers"'));
  assert.equal(code, 1);
  assert.match(output, /circuit_brakers/);
});

/** What Envoy says of a bootstrap: its status, and its words where it is not 0. */
async function validate(text: string): Promise<[code: number, output: string]> {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(file, text);
    const args = ["--mode", "validate", "-c", file, "-l", "error"];
    const { code, stderr, stdout } = await new Deno.Command(await liveTool("envoy"), { args }).output();
    const output = new TextDecoder().decode(stderr) + new TextDecoder().decode(stdout);
    return [code, code === 0 ? "" : output];
  } finally {
    await Deno.remove(file);
  }
}
