import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import { passEnvWarnings, programEnv, type ProgramEnvOptions } from "./app_env.ts";
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

Deno.test("passEnvWarnings() names what KRUN_PASS_ENV cannot hand on, and the nearest that it can", () => {
  const hands = ["KUBECONFIG", "SSH_AUTH", "K8S_SECRET_not_set", "KRUN_LOG", "KRUN_OF_THE_PROGRAM"];
  assert.deepEqual(passEnvWarnings(hands, { KRUN_OF_THE_PROGRAM: "1" }), []);
  const nearest = (name: string) => /nearest that does is (.*)$/.exec(passEnvWarnings([name], {})[0] ?? "")?.[1];
  assert.equal(nearest("KUBECONFIGG"), "KUBECONFIG");
  assert.equal(nearest("KRUN_LOGG"), "KRUN_LOG");
  assert.equal(nearest("K8S_SECRETS_db"), "K8S_SECRET_<name>");
  for (const name of ["PATH", "KUBERNETES_SERVICE_HOST"]) {
    const expected = [`KRUN_PASS_ENV=${name} has no effect; it is no variable of krun's own`];
    assert.deepEqual(passEnvWarnings([name], { [name]: "x" }), expected);
  }
});

Deno.test("programEnv() keeps a variable called __proto__ when it gets one", () => {
  const outer = Object.fromEntries([["__proto__", "x"]]);
  assert.deepEqual(Object.entries(programEnv(outer, {}, { passEnv: [], ownsKubernetesEnv: true })), [[
    "__proto__",
    "x",
  ]]);
});
