import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { programEnv, type ProgramEnvOptions } from "./app_env.ts";
import type { Env } from "./pod_inputs.ts";
import { SETTINGS } from "./settings_table.ts";

interface Input extends ProgramEnvOptions {
  readonly outer: Env;
  readonly pod: Env;
}

for (const { id, why, input, expect } of loadVectors<Input, Env>("app_env")) {
  Deno.test(`programEnv() ${id}: ${why}`, () => {
    assert.deepEqual(programEnv(input.outer, input.pod, input), expect);
  });
}

Deno.test("programEnv() takes out what SETTINGS says krun alone sees, and nothing else, when there is no cluster", () => {
  for (const { env, seenBy } of SETTINGS) {
    const name = env.replace(/<.*>/, "x");
    const seen = programEnv({ [name]: "1" }, {}, { passEnv: [], ownsKubernetesEnv: false });
    assert.deepEqual(Object.keys(seen), seenBy === "program" ? [name] : [], name);
    assert.deepEqual(programEnv({ [name]: "1" }, {}, { passEnv: [name], ownsKubernetesEnv: false }), { [name]: "1" });
  }
});

Deno.test("programEnv() keeps a variable called __proto__ when it gets one", () => {
  const outer = Object.fromEntries([["__proto__", "x"]]);
  assert.deepEqual(Object.entries(programEnv(outer, {}, { passEnv: [], ownsKubernetesEnv: true })), [[
    "__proto__",
    "x",
  ]]);
});
